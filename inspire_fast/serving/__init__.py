"""Policy server: openpi's websocket protocol for any `core.policy.Policy`."""

from inspire_fast.serving.background import serve_in_background as serve_in_background
from inspire_fast.serving.config import ServerConfig as ServerConfig
from inspire_fast.serving.server import PolicyServer as PolicyServer
