"""A name says one thing in the whole product."""

import ast
from collections import defaultdict

from repository_tree import REPOSITORY


def test_no_two_classes_of_the_product_share_a_name() -> None:
    homes = defaultdict(list)
    for top in ("MorseCore", "MorseSegment", "Training"):
        for path in sorted((REPOSITORY / top).rglob("*.py")):
            for node in ast.parse(path.read_text(encoding="utf-8")).body:
                if isinstance(node, ast.ClassDef):
                    homes[node.name].append(path.relative_to(REPOSITORY).as_posix())
    assert {name: files for name, files in homes.items() if len(files) > 1} == {}
