"""OpenID: what a provider says, whether it is the provider's, and that it counts once.

Knows no Flask, and no provider by name; the drivers are imported at first use. Adapters use the
names below: keys, messages that arrive and are answered in time, logout tokens, discovery.
"""

from __future__ import annotations

from .calls import Calls as Calls
from .calls import Said as Said
from .claims import LATEST_TIME as LATEST_TIME
from .claims import LEEWAY as LEEWAY
from .claims import LONGEST_VALIDITY as LONGEST_VALIDITY
from .claims import audience_in as audience_in
from .claims import number_in as number_in
from .claims import spelled as spelled
from .claims import text_in as text_in
from .claims import texts_in as texts_in
from .claims import time_in as time_in
from .errors import NotGenuine as NotGenuine
from .errors import NotSigned as NotSigned
from .errors import Peer as Peer
from .errors import ProviderError as ProviderError
from .errors import ProviderUnavailable as ProviderUnavailable
from .issuer import Issuer as Issuer
from .issuer import checked_url as checked_url
from .issuer import in_clear as in_clear
from .jose import TEXT_LIMIT as TEXT_LIMIT
from .jose import SigningKeys as SigningKeys
from .logout import LogoutTokens as LogoutTokens
from .logout_token import LogoutToken as LogoutToken
from .logout_token import read_logout_token as read_logout_token
from .once import Once as Once
from .reception import Party as Party
from .reception import Reception as Reception
from .reception import form_field as form_field
from .reception import message_body as message_body
from .remembered import Remembered as Remembered
from .transport import Limits as Limits
from .transport import Reach as Reach
from .transport import equip as equip
