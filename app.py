"""Show a release in the browser: `python app.py --help`. This is what a Hugging Face Space runs."""

from catdog_hub.ui import main

if __name__ == "__main__":
    raise SystemExit(main())
