"""Quality of recorded episodes: idle stretches, jerk, outliers, gripper chatter, frozen pictures, lag, duplicates."""

from inspire_fast.data.quality.blank import describe_blank as describe_blank
from inspire_fast.data.quality.findings import Finding as Finding
from inspire_fast.data.quality.findings import describe_lag as describe_lag
from inspire_fast.data.quality.findings import find as find
from inspire_fast.data.quality.measures import EpisodeMeasures as EpisodeMeasures
from inspire_fast.data.quality.measures import Measures as Measures
from inspire_fast.data.quality.measures import Numbers as Numbers
from inspire_fast.data.quality.measures import measure as measure
