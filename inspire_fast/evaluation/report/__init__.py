"""Reports of an evaluation: success rates with intervals, answer accuracy, the HTML page."""
