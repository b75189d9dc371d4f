"""The command: `python -m handwriting.tune tuning=NAME KEY=VALUE ...` compares arms at their best.

Each arm of conf/tuning/NAME.yaml tries as many settings; the best by validation are judged on other seeds.
All else is as in `python -m handwriting.train -m`.
"""

from handwriting.train import main

if __name__ == "__main__":
    main("tune")
