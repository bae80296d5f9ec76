"""Maps over pictures: where values land, what stays, and that bands leave no seam."""

import numpy as np
import pytest

from triscale.data.box import Box
from triscale.explain import overlay as overlay_module
from triscale.explain.overlay import drawn_out, overlay

CHANCE = np.random.default_rng(0)
PICTURE = CHANCE.integers(0, 256, (120, 200, 3), dtype=np.uint8)
MAP = CHANCE.normal(size=(3, 5)).astype(np.float32)


def test_a_cell_stands_in_the_middle_of_its_share() -> None:
    # An odd number of pixels a cell has a pixel in the middle.
    drawn = drawn_out(MAP, Box(10, 20, 3 * 7, 5 * 9))
    np.testing.assert_allclose(drawn[3::7, 4::9], MAP, rtol=1e-6)


def test_a_plane_stays_a_plane_inside_and_no_colour_leaves_the_edges() -> None:
    plane = (2 * np.arange(6)[:, None] + 3 * np.arange(8)).astype(np.float32)
    drawn = drawn_out(plane, Box(0, 0, 60, 80))
    pixels = (np.arange(80) + 0.5) / 10 - 0.5
    inside = slice(15, 45), slice(15, 65)
    expected = 2 * pixels[:60, None] + 3 * pixels
    np.testing.assert_allclose(drawn[inside], expected[inside], rtol=1e-5)
    # A part no larger than the map is the map itself.
    np.testing.assert_allclose(drawn_out(MAP, Box(0, 0, 3, 5)), MAP, rtol=1e-6)


def test_a_map_turned_with_its_picture_turns_the_overlay() -> None:
    box = Box(8, 31, 96, 120)
    turned_box = Box(PICTURE.shape[0] - 8 - 96, PICTURE.shape[1] - 31 - 120, 96, 120)
    shown = overlay(PICTURE, MAP, box, highest=1)
    turned = overlay(PICTURE[::-1, ::-1].copy(), MAP[::-1, ::-1].copy(), turned_box, highest=1)
    assert np.abs(shown.astype(int) - turned[::-1, ::-1]).max() <= 1


def test_colour_lies_in_the_box_alone() -> None:
    box = Box(8, 31, 96, 120)
    shown = overlay(PICTURE, np.ones((3, 5), np.float32), box, highest=1)
    outside = np.ones(PICTURE.shape[:2], bool)
    outside[8 : 8 + 96, 31 : 31 + 120] = False
    assert (shown[outside].max(1) == shown[outside].min(1)).all()
    assert shown[outside].max() <= 255 * overlay_module.UNSEEN + 1
    inside = shown[~outside].astype(int)
    assert (inside[:, 0] - inside[:, 2]).mean() > 60  # inferno's highest colour is yellow


def test_evidence_against_the_class_gets_no_colour_and_more_evidence_more() -> None:
    box = Box(0, 0, 120, 200)
    none = overlay(PICTURE, np.full((3, 5), -4, np.float32), box, highest=1)
    np.testing.assert_array_equal(none, overlay(PICTURE, np.zeros((3, 5), np.float32), box, highest=1))
    np.testing.assert_array_equal(none, overlay(PICTURE, np.zeros((3, 5), np.float32), box, highest=0))
    black, white = np.zeros_like(PICTURE), np.full_like(PICTURE, 255)
    stays = []
    for share in (0, 0.25, 0.5, 1, 2):
        values = np.full((1, 1), share, np.float32)
        shown = [overlay(picture, values, box, highest=1)[60, 100].astype(int) for picture in (black, white)]
        stays.append(int((shown[1] - shown[0]).mean()))
    assert stays[0] == 255
    assert stays[0] > stays[1] > stays[2] > stays[3] == stays[4] > 0


def test_bands_leave_no_seam(monkeypatch: pytest.MonkeyPatch) -> None:
    box = Box(3, 5, 111, 190)
    whole = overlay(PICTURE, MAP, box, highest=1)
    monkeypatch.setattr(overlay_module, "_BAND_PIXELS", 7 * 190)
    np.testing.assert_array_equal(overlay(PICTURE, MAP, box, highest=1), whole)
