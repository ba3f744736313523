"""Where facts come from: demonstrations recorded in a simulator with the truth about every target at every step."""

from inspire_fast.labeling.episode import RecordedEpisode as RecordedEpisode
from inspire_fast.labeling.episode import load_episode as load_episode
from inspire_fast.labeling.record import RecordSpec as RecordSpec
from inspire_fast.labeling.record import RecordSummary as RecordSummary
from inspire_fast.labeling.record import record as record
from inspire_fast.labeling.record import record_episode as record_episode
