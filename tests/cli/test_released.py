from triscale.cli.network import find_network
from triscale.cli.released import TAGS, release_names, released_network
from triscale.models.weights import releases


def test_names_are_those_that_load_takes() -> None:
    listed = {name: network for network in TAGS for name in release_names(network)}
    assert listed == {release.name: release.network for release in releases()}


def test_released_names_find_their_network() -> None:
    assert released_network("efficientnet-b3.noisy-student") == "efficientnet-b3"
    assert released_network("resnet200") is None
    assert find_network("EfficientNet_B3.noisy-student").name == "efficientnet-b3"
