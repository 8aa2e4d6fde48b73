"""Ask the Python packaging index which of the pinned packages have known vulnerabilities.

    python .ci/audit.py [constraints.txt]

Ends with 1 if there is one. An index that cannot be asked (no network, a mirror without that service) is said, and is
no failure: nothing is known then, and whoever merges reads it.
"""

import json
import subprocess
import sys
from typing import Any

COMMAND = ("pip-audit", "--no-deps", "--disable-pip", "--progress-spinner", "off", "--format", "json")


def main() -> int:
    pins = sys.argv[1] if len(sys.argv) > 1 else "constraints.txt"
    try:
        found = subprocess.run(
            [*COMMAND, "--requirement", pins], capture_output=True, text=True, check=False, timeout=600
        )
    except FileNotFoundError:
        print("pip-audit is not installed: pip install pip-audit", file=sys.stderr)
        return 2
    try:
        packages: list[dict[str, Any]] = json.loads(found.stdout)["dependencies"]
    except (ValueError, KeyError):
        said = found.stderr.strip().splitlines()
        print(f"audit: the index could not be asked ({said[-1] if said else f'status {found.returncode}'})")
        return 0
    audited = [each for each in packages if "skip_reason" not in each]
    vulnerable = [each for each in audited if each["vulns"]]
    for each in vulnerable:
        for flaw in each["vulns"]:
            fixed = ", ".join(flaw["fix_versions"]) or "no version yet"
            print(f"audit: {each['name']} {each['version']}: {flaw['id']}, fixed in {fixed}")
    print(
        f"audit: {len(audited)} of {len(packages)} pinned packages are known to the index, {len(vulnerable)} vulnerable"
    )
    return 1 if vulnerable else 0


if __name__ == "__main__":
    sys.exit(main())
