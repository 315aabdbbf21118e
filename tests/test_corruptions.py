import pytest
from PIL import Image

from catdog_hub.corruptions import CORRUPTIONS, apply_all


@pytest.fixture(scope="module")
def photo(samples):
    return Image.open(samples["cat_chelsea.png"]).convert("RGB")


@pytest.mark.parametrize("corruption", CORRUPTIONS.values(), ids=lambda corruption: corruption.name)
def test_contract(corruption, photo):
    assert corruption.low <= corruption.neutral <= corruption.high
    neutral = corruption(photo, corruption.neutral)
    assert neutral.tobytes() == photo.tobytes()
    for severity in (*corruption.severities, corruption.low, corruption.high):
        spoiled = corruption(photo, severity)
        assert spoiled.mode == "RGB"
        assert spoiled.tobytes() == corruption(photo, severity).tobytes()
        corruption(Image.new("L", (1, 1)), severity)
    assert corruption(photo, corruption.severities[0]).tobytes() != photo.tobytes()
    with pytest.raises(ValueError, match="must lie between"):
        corruption(photo, corruption.high + 1)


def test_apply_all(photo):
    assert apply_all(photo, {}).tobytes() == photo.tobytes()
    both = apply_all(photo, {"grey": 100, "rotate": 30})
    step_by_step = CORRUPTIONS["grey"](CORRUPTIONS["rotate"](photo, 30), 100)
    assert both.tobytes() == step_by_step.tobytes()
    with pytest.raises(ValueError, match="Unknown"):
        apply_all(photo, {"melt": 1})


def test_the_photo_itself_is_left_alone(photo):
    before = photo.tobytes()
    for corruption in CORRUPTIONS.values():
        corruption(photo, corruption.severities[-1])
    assert photo.tobytes() == before
