"""Tokens: what a token is, how it is spelled and stored, with which keys, and what refuses it.

Imports ground and the settings' limits; nothing here asks a store or a clock by itself. Others
use :class:`Token`, :class:`Refusal`, and the key ring and the wire form that a node is made of.
"""

from __future__ import annotations

from . import validation as validation
from .copies import CopiesNote as CopiesNote
from .copies import Pace as Pace
from .copies import Whereabouts as Whereabouts
from .copies import begun as begun
from .copies import copies_key as copies_key
from .copies import read_copies as read_copies
from .digests import digest as digest
from .digests import digests as digests
from .keyfile import KeyFile as KeyFile
from .keyfile import fingerprint as fingerprint
from .keyfile import new_secret as new_secret
from .keyring import ADVISED_LENGTH as ADVISED_LENGTH
from .keyring import RING_KEY as RING_KEY
from .keyring import KeyRing as KeyRing
from .keyring import KeyState as KeyState
from .keyring import ring_bytes as ring_bytes
from .keyring import ring_change as ring_change
from .keyring import ring_since as ring_since
from .keyring import ring_states as ring_states
from .notes import Notes as Notes
from .notes import SignedNote as SignedNote
from .records import NewerForm as NewerForm
from .records import from_list as from_list
from .records import from_record as from_record
from .records import has_signs as has_signs
from .records import lives_until as lives_until
from .records import record_end as record_end
from .records import signs_of as signs_of
from .records import spare_of as spare_of
from .records import to_record as to_record
from .records import with_record as with_record
from .refusals import MISSING as MISSING
from .refusals import Refusal as Refusal
from .token import UNNUMBERED as UNNUMBERED
from .token import Token as Token
from .token import TokenKind as TokenKind
from .token import is_id as is_id
from .token import new_id as new_id
from .token import record_key as record_key
from .token import records_of as records_of
from .token import subject_tag as subject_tag
from .token import view_keys as view_keys
from .validation import DEVICE_LIMIT as DEVICE_LIMIT
from .validation import WrongArgument as WrongArgument
from .wire import VERSION as VERSION
from .wire import Wire as Wire
