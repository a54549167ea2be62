"""The mutants themselves: each is one small change of the gate, and whoever spares one names one that exists."""

import ast

from tests.mutants import GUARDED, ROOT, code_mutants, rule_mutants, shipped
from tests.mutate import EQUIVALENT


def test_every_guarded_file_has_mutants_and_each_differs_from_the_file_and_can_be_read() -> None:
    made = list(code_mutants())
    assert {mutant.file for mutant in made} == set(GUARDED)
    whole = {file: ast.unparse(ast.parse((ROOT / file).read_text("utf-8"))) for file in GUARDED}
    for mutant in made:
        ast.parse(mutant.source)
        assert mutant.source != whole[mutant.file], mutant.name
        assert len(set(mutant.source.splitlines()) ^ set(whole[mutant.file].splitlines())) <= 2, mutant.name
    assert len({(mutant.file, mutant.source) for mutant in made}) > 0.95 * len(made)


def test_every_function_and_every_test_that_the_table_names_exists() -> None:
    for file, (functions, tests) in GUARDED.items():
        defined = {node.name for node in ast.walk(ast.parse((ROOT / file).read_text("utf-8"))) if isinstance(node, ast.FunctionDef)}
        assert set(functions) <= defined, file
        assert all((ROOT / f"tests/policies/test_{test}.py").is_file() for test in tests), file


def test_every_spared_mutant_exists_and_has_a_reason() -> None:
    keys = {mutant.key for mutant in code_mutants()}
    assert set(EQUIVALENT) <= keys and all(EQUIVALENT.values())


def test_the_mutants_of_the_rules_are_as_many_as_their_conditions() -> None:
    names = [mutant.name for mutant in rule_mutants()]
    assert len(names) == len(set(names)) and len(names) > 150
    ids = {rule["annotations"]["id"] for rule in shipped()["staticPolicies"].values()}
    assert {name.split(":")[0].split(" ")[0] for name in names} == ids
