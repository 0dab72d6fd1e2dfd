"""What is beyond all sense in a configuration is refused by name, before anything is made of it."""

from dataclasses import dataclass

import pytest

from MorseCore.config import apply_overrides, decode, read_json
from MorseCore.errors import ConfigError
from MorseCore.limits import MAX_DEPTH, check_bounds, check_depth, check_magnitudes
from MorseCore.store.metadevice import shapes_only
from MorseCore.training.config import RunConfig
from networks import BACKBONES, HEADS, make_network
from training_runs import run_config, run_data


def nested(levels: int) -> object:
    data: object = 1
    for n in range(levels):
        data = [data] if n % 2 else {"a": data}
    return data


def test_data_may_be_nested_to_a_limit() -> None:
    check_depth(nested(MAX_DEPTH), "It")
    with pytest.raises(ConfigError, match="It is nested more than 64 levels deep"):
        check_depth(nested(MAX_DEPTH + 1), "It")
    with pytest.raises(ConfigError, match="nested"):
        check_depth(nested(100_000), "It")


@pytest.mark.parametrize("levels", [100, 900, 50_000])
def test_a_nested_file_or_override_is_one_sentence(tmp_path, levels: int) -> None:
    path = tmp_path / "config.json"
    path.write_text('{"a":' * levels + "1" + "}" * levels, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"nested|recursion"):
        read_json(path)
    with pytest.raises(ConfigError, match="nested"):
        decode(RunConfig, apply_overrides(run_data(), ["a." * levels + "b=1"]), "")
    override = "data.split=" + "[" * levels + "]" * levels
    with pytest.raises(ConfigError, match=r"nested|must be text|4,096 characters"):
        decode(RunConfig, apply_overrides(run_data(), [override]), "")


@dataclass(frozen=True)
class Numbers:
    count: int = 1
    rate: float = 0.0
    sizes: tuple[int, ...] | None = None


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"count": 0}, "'count' must be positive; found 0"),
        ({"count": 70_000}, "'count' may be 65,536 at most; found 70000"),
        ({"rate": -1e-9}, "'rate' must not be negative; found -1e-09"),
        ({"rate": 1e300}, "'rate' may be 10 at most; found 1e+300"),
        ({"rate": float("nan")}, "'rate' must"),
        ({"sizes": (8, 1)}, "'sizes' must be 4 at least; found (8, 1)"),
    ],
)
def test_a_number_out_of_bounds_is_named_with_the_bound(values: dict, sentence: str) -> None:
    bounds = {"count": (1, 65_536), "rate": (0, 10.0), "sizes": (4, 100)}
    check_bounds(Numbers(), **bounds)
    with pytest.raises(ConfigError) as caught:
        check_bounds(Numbers(**values), **bounds)
    assert sentence in str(caught.value)


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ({"a": [1, {"b": 2**60}]}, "'x.a.b' may be"),
        (-1e13, "'x' may be 1e+12 at most"),
        (10**400, "found an enormous number"),
        ("a\0b", "'x' holds a character that no file can have"),
        ("\ud800", "'x' holds a character that no file can have"),
        ("a" * 5000, "may have 4,096 characters; found 5,000"),
    ],
)
def test_numbers_and_texts_are_looked_at_wherever_they_stand(value: object, sentence: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check_magnitudes("x", value)
    assert sentence in str(caught.value)


REFUSED = {
    "optimisation.learning_rate=1e300": "'learning_rate' may be 10 at most",
    "optimisation.learning_rate=1e-300": "'learning_rate' must be 1e-12 at least",
    "optimisation.batch_size=1e6": "'optimisation.batch_size' must be a whole number",
    "optimisation.batch_size=1000000": "'batch_size' may be 65,536 at most",
    "optimisation.iterations=10000000000": "'iterations' may be 1,000,000,000 at most",
    "optimisation.momentum=true": "'optimisation.momentum' must be a number; found true",
    "optimisation.warmup=-1": "'warmup' must lie in [0, 'iterations')",
    "optimisation.weight_decay=1e9": "'weight_decay' may be 10 at most",
    "data.workers=100000": "'workers' may be 256 at most",
    "data.workers=-1": "'workers' must not be negative",
    "data.fold=1000000000": "'fold' may be 10,000 at most",
    "data.share=0": "'share' must lie above 0",
    "seed=99999999999999999999999": "'seed' may have 18 digits at most",
    "seed=1e400": "'seed' must be a whole number",
    "windows.overlap=0.99999": "'overlap' may be 0.9 at most",
    "windows.batch=1000000": "'batch' may be 4,096 at most",
    "preparation.window=[4096,4096,4096]": "268,435,456 in all",
    "preparation.window=[100000,16,16]": "4096 voxels a side",
    "preparation.spacing=[1e-300,1,1]": "'spacing' must be 0.001 at least",
    "preparation.intensity_range=[-1e300,1e300]": "'intensity_range' must be -1e+09 at least",
    "network.head.gate_depth=65536": "'head.gate_depth' may be 64 at most",
    "network.backbone.channels=[1000000,8]": "'backbone.channels' may be 65,536 at most",
    f"network.backbone.channels={[8] * 65}": "'backbone.channels' may hold 64 values; found 65",
    'network.backbone={"name":"unetr","layers":65536}': "'backbone.layers' may be 256 at most",
    "network.head.sigma=1e300": "'head.sigma' may be 1e+06 at most",
    "sampler.points=100000000": "'sampler.points' may be 16,777,216 at most",
    'sampler={"name":"uncertain","points":4096,"oversample":100000}': "('points' times",
    "renderer.points=99999999999": "'renderer.points' may be 2,147,483,648 at most",
    'renderer={"name":"mise","rings":1000}': "'renderer.rings' may be 64 at most",
    "augmentation.scale=[0.5,1e300]": "scale must be two rising numbers from 0.05 to 100",
    "augmentation.noise_std=1e300": "'noise_std' may be 100 at most",
    "generation.ranges.bias_nodes=1e-9": "The distance of nodes must be 2 mm at least",
    "generation.ranges.blur=[1,1e300]": "'blur' may be 1000 at most",
    "generation.validation_images=100000000": "'validation_images' may be 10,000 at most",
    'generation.windows=[{"window":[9999,9999,9999],"share":1}]': "in all",
    "output=a\0b": "'output' holds a character that no file can have",
    "name=con": "'name' must be a plain folder name",
    f"name={'x' * 81}": "'name' must be a plain folder name of at most 80",
    f"card.title={'x' * 1001}": "'title' must be one line of text, of at most 1000 characters",
    'accept=["nonsense"]': "There is nothing to accept by the name 'nonsense'",
}


@pytest.mark.parametrize(("override", "sentence"), REFUSED.items())
def test_an_absurd_training_is_refused_in_one_sentence(override: str, sentence: str) -> None:
    with pytest.raises(ConfigError) as caught:
        decode(RunConfig, apply_overrides(run_data(), [override]), "")
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


def test_a_name_that_is_accepted_is_kept_and_says_how_it_is_written() -> None:
    config = run_config(accept=["shared-images"])
    assert config.accept == ("shared-images",)
    with pytest.raises(ConfigError, match=r"with 'accept=\[\"memory\"\]'"):
        config.acceptance().refuse("memory", ConfigError("Too large."))


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("backbone", BACKBONES)
def test_no_network_has_more_parts_than_its_weights_allow(
    backbone: str, head: str, dims: int
) -> None:
    try:
        network = make_network(backbone, head, dims=dims)
    except ConfigError:
        pytest.skip("the two do not go together")
    with shapes_only(most=len(network.state_dict())):
        make_network(backbone, head, dims=dims)
