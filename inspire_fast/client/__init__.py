"""Policy client: openpi's wire protocol for robots and simulators, without JAX or PyTorch."""

from inspire_fast.client.errors import AccessDeniedError as AccessDeniedError
from inspire_fast.client.errors import ConnectionLostError as ConnectionLostError
from inspire_fast.client.errors import ErrorCode as ErrorCode
from inspire_fast.client.errors import PolicyChangedError as PolicyChangedError
from inspire_fast.client.errors import PolicyClientError as PolicyClientError
from inspire_fast.client.errors import RequestTimeoutError as RequestTimeoutError
from inspire_fast.client.errors import ServerError as ServerError
from inspire_fast.client.websocket_client import PolicyClient as PolicyClient
