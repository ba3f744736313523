"""Log formats: plain text for people, or one JSON object per line for log collectors."""

from __future__ import annotations

from datetime import UTC, datetime
import json
import logging
from typing import Literal

LogFormat = Literal["text", "json"]


class JsonFormatter(logging.Formatter):
    """JSON lines: `time` (UTC, ISO 8601), `level`, `logger`, `message`, and `exception` if there is one."""

    def format(self, record: logging.LogRecord) -> str:
        """Record -> line."""
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line)


def configure_logging(form: LogFormat = "text", level: int = logging.INFO) -> None:
    """Sends all logs to stderr. Replaces earlier configurations of logging (importing Orbax makes one)."""
    handler = logging.StreamHandler()
    plain = logging.Formatter("%(asctime)s %(levelname)s %(message)s")
    handler.setFormatter(JsonFormatter() if form == "json" else plain)
    logging.basicConfig(level=level, handlers=[handler], force=True)
    logging.getLogger("jax._src.xla_bridge").setLevel(logging.WARNING)  # it tells which accelerators are not there
    logging.getLogger("websockets").setLevel(logging.WARNING)  # it logs a line per health check
