"""Write golden_predictions.json anew after the embedded release has changed: `python tests/golden_predictions.py`."""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from catdog_hub import load
from catdog_hub.hub import BUNDLED, open_release

SAMPLES = BUNDLED.parent / "ui" / "samples"

golden = {}
for stage in open_release().manifest.stage_names:
    classifier = load(stage=stage)
    predictions = {path.name: classifier.predict(path) for path in sorted(SAMPLES.iterdir()) if path.suffix != ".csv"}
    golden[stage] = {
        name: {
            "label": prediction.label,
            "scores": {label: round(score, 5) for label, score in prediction.scores.items()},
        }
        for name, prediction in predictions.items()
    }
(Path(__file__).parent / "golden_predictions.json").write_text(json.dumps(golden, indent=1) + "\n")
