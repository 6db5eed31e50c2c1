"""The pictures in docs/images are those that make screenshots takes."""

from ui.notebook import THEMES
from ui.screenshots import HOMES, IMAGES, PICTURES


def test_each_widget_and_the_home_page_have_a_picture_in_both_themes() -> None:
    names = [*HOMES, *(picture.name for picture in PICTURES)]
    wanted = {f"{name}-{theme}.png" for name in names for theme in THEMES}
    assert {file.name for file in IMAGES.iterdir()} == wanted
    assert all(file.read_bytes().startswith(b"\x89PNG") for file in IMAGES.iterdir())
