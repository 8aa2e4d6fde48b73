"""Tables as LaTeX: booktabs, best bold, second underlined, differences in small type."""

from __future__ import annotations

from atlas_core.results.formatting import grouped, number, signed, used_labels
from atlas_core.results.tables import Block, Cell, ResultTable
from atlas_core.shown import shown

_SPECIAL = str.maketrans(
    {
        "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{",
        "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}",
        ">": r"\textgreater{}", "±": r"$\pm$", "†": r"$^\dagger$", "*": "$^*$", "ε": r"$\epsilon$",
        "∞": r"$\infty$", "−": "$-$", "–": "--", "\n": " ", "[": "{[}", "]": "{]}",
    }
)  # fmt: skip


def latex(table: ResultTable) -> str:
    r"""One `table*` with a booktabs tabular a block; needs `\usepackage{booktabs}`."""
    lines = [r"% needs \usepackage{booktabs}", r"\begin{table*}[t]", r"\centering", r"\small"]
    notes = f" {tex('; '.join(table.notes))}." if table.notes else ""
    lines += [rf"\caption{{{tex(table.title)}.{notes}}}", rf"\label{{tab:{table.name}}}"]
    for block in table.blocks:
        lines += ["", *_tabular(table, block)]
    return "\n".join([*lines, r"\end{table*}"]) + "\n"


def tex(text: str) -> str:
    """Text with LaTeX's special characters escaped; a bracket after a line's end would be an argument of it."""
    return shown(text, keep="\n").translate(_SPECIAL)


def _tabular(table: ResultTable, block: Block) -> list[str]:
    used = used_labels(block)
    names = [*(table.labels[k] for k in used), *block.columns]
    lines = [
        rf"\textit{{{tex(block.title)}}}\\[2pt]",
        rf"\begin{{tabular}}{{{'l' * len(used)}{'r' * len(block.columns)}}}",
        r"\toprule",
        " & ".join(tex(name) for name in names) + r" \\",
        r"\midrule",
    ]
    for row, opens in grouped(block):
        if opens:
            lines.append(r"\midrule")
        cells = [*(tex(row.labels[k]) for k in used), *(_cell(cell, block) for cell in row.cells)]
        lines.append(" & ".join(cells) + r" \\")
    return [*lines, r"\bottomrule", r"\end{tabular}\\[6pt]"]


def _cell(cell: Cell, block: Block) -> str:
    text = tex(number(cell.value, cell.decimals))
    text = (text, rf"\textbf{{{text}}}", rf"\underline{{{text}}}")[cell.place] + tex(cell.marks)
    if block.spread and cell.std is not None:
        text += rf" {{\scriptsize $\pm${number(cell.std)}}}"
    if block.deltas and cell.delta is not None:
        text += rf" {{\scriptsize (${signed(cell.delta).replace('−', '-')}$)}}"
    return text
