"""The contracts: what to implement for an own backend, codec, observer or credential provider."""

from ._backend import Ack as Ack
from ._backend import Buried as Buried
from ._backend import Bury as Bury
from ._backend import Commit as Commit
from ._backend import Death as Death
from ._backend import Entry as Entry
from ._backend import GroupMember as GroupMember
from ._backend import Membership as Membership
from ._backend import Receipt as Receipt
from ._backend import Record as Record
from ._backend import Release as Release
from ._backend import Retry as Retry
from ._backend import Settlement as Settlement
from ._backend import StreamBackend as StreamBackend
from ._backend import TakeOver as TakeOver
from ._codec import Codec as Codec
from ._credentials import CredentialProvider as CredentialProvider
from ._graves import Grave as Grave
from ._look import Look as Look
from ._observer import Observer as Observer
from ._observer import SelectiveObserver as SelectiveObserver
from ._once import Append as Append
from ._once import Once as Once
from ._ordering import OrderedMember as OrderedMember
from ._ordering import Parked as Parked
from ._ordering import Queue as Queue
from ._ordering import Start as Start
from ._settled import Settled as Settled
from ._subscription import BatchHandler as BatchHandler
from ._subscription import Handler as Handler

# Users find them here: see ``trio_bus/__init__.py``.
for _public in (
    *(Ack, Append, Bury, Commit, Death, Entry, Grave, GroupMember, Look, Membership, Once),
    *(OrderedMember, Parked, Queue, Receipt, Release, Retry, Settled, Start, StreamBackend),
    *(TakeOver, Codec, CredentialProvider, Observer, SelectiveObserver),
):
    _public.__module__ = __name__
