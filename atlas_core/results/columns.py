"""What the columns of the result tables mean."""

from __future__ import annotations

# table -> column -> meaning
_MEANINGS: dict[str, dict[str, str]] = {
    "runs": {
        "run_id": "identity of the run: 16 hexadecimal digits of its key",
        "run_name": "readable name, such as dtd/coop/atlas_csl/16shots/seed1",
        "study": "preset or file that asked for the run",
        "protocol": "base_to_new, cross_dataset, domain_generalization or few_shot",
        "dataset": "dataset the prompts were trained on",
        "method": "prompt-tuning method; zero_shot is untrained CLIP",
        "supervision": "target of the cross-entropy: one_hot, ls, csl, atlas_csl, ...; none for zero_shot",
        "source": "label source behind the supervision (atlas_csl: csl)",
        "mix": "weight of the soft distribution in a soft target (epsilon; 1 is the pure distribution)",
        "temperature": "scale of the soft labels' softmax (s_t), if it was set; null: the source's default, for isl "
        "the model's own logit scale, for csl the one at which the soft labels' mean mass on their own class is 0.9",
        "soft_temperature": "s_t that the soft labels were made with; null without soft labels",
        "soft_entropy": "mean entropy of the soft labels, before they are mixed with the class, nats; null without "
        "soft labels",
        "soft_true_mass": "their mean mass on the true class: mix * (1 - soft_true_mass) of a soft target lies on "
        "other classes",
        "soft_top3_mass": "their mean mass on the three most probable other classes together",
        "period": (
            "K of an atlas_ supervision: every K-th epoch has soft targets; null when nothing alternates"
        ),
        "shots": "training images a class; 0 for zero_shot",
        "seed": "seed of the shots, the initial context and the batch order",
        "backbone": "model and pretrained tag or weights file",
        "epochs": "training epochs",
        "batch_size": "images a step",
        "learned_parameters": "numbers that training changes",
        "first_loss": "mean training loss of the first epoch",
        "final_loss": "mean training loss of the last epoch",
        "wall_seconds": "time the training took by the clock (its share, if trained in a stack)",
        "cpu_seconds": "processor time the training took",
        "key": "content key of the tune artifact",
        "options": "options of the method as JSON (no seed, nothing of the supervision)",
        "stand_in": "what the run has in place of something that the method's authors had; null where it has all",
    },
    "metrics": {
        "run_id": "run that was evaluated",
        "protocol": "protocol the evaluation belongs to; null: every protocol of its run",
        "target": "dataset it was evaluated on",
        "subset": "classes: base, new or all",
        "n_classes": "classes to choose among",
        "n_samples": "test images",
        "accuracy": "correct predictions, percent",
        "macro_f1": "mean F1 over the classes that have images, percent",
        "top5": "label among the five most probable classes, percent",
        "ece": "expected calibration error over 15 equal-width bins, percent",
        "nll": "mean negative log-likelihood of the label, nats",
    },
    "predictions": {
        "run_id": "run that predicted",
        "target": "dataset of the image",
        "subset": "classes to choose among: base, new or all",
        "item": "image path inside the dataset's folder",
        "label": "true class, numbered inside the subset",
        "prediction": "most probable class",
        "probability": "probability of the prediction",
        "label_probability": "probability of the true class",
        "label_log_probability": "its natural logarithm, from the logits: finite where the probability underflows to 0",
        "top5": "the five most probable classes, best first",
    },
    "curves": {
        "run_id": "run that was trained",
        "epoch": "epoch, from 1",
        "loss": "mean training loss, auxiliary terms included",
        "cross_entropy": "mean cross-entropy against this epoch's target",
        "target": "target of this epoch's cross-entropy: one_hot or a label source",
        "learning_rate": "learning rate of the epoch",
        "train_accuracy": "correct predictions on the training views, percent",
    },
    "classes": {
        "target": "dataset",
        "subset": "base, new or all",
        "label": "class number inside the subset",
        "class_name": "name of the class as it is prompted",
    },
    "datasets": {
        "name": "name that the tables show: that of its folder, table or description, longer where others have it too",
        "plain_name": "name of its folder, table or description, which others may have too",
        "place": "where its files are: a path, or a folder's name below the data root",
        "content": "digest of its images, labels and splits",
        "published": "dataset of the catalogue that it is; null for one's own data",
        "partial": "where its numbers are not the published ones; null where they are, or none are",
        "classes": "classes",
        "train": "training images",
        "val": "validation images",
        "test": "test images",
        "smallest_class": "training images of the class that has fewest",
        "smallest_base_class": "the same among the base classes",
    },
    "artifacts": {
        "stage": "stage that made the artifact",
        "name": "what it is, readable",
        "key": "content key",
        "wall_seconds": "time it took by the clock",
        "cpu_seconds": "processor time it took",
        "bytes": "size on disk",
        "created": "when it was finished, ISO 8601 in UTC",
    },
}


def column_descriptions(table: str) -> dict[str, str]:
    """What each column of a stored table means: name -> description."""
    return dict(_MEANINGS[table])
