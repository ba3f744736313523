"""The policy server: openpi's websocket protocol in front of any `core.policy.Policy`."""

from inspire_fast.serving.background import serve_in_background as serve_in_background
from inspire_fast.serving.server import PolicyServer as PolicyServer
