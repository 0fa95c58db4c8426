"""The nursery of a subscription, and the tasks in it."""

from .dispatcher import BatchHandler as BatchHandler
from .dispatcher import Handler as Handler
from .opening import open_subscription as open_subscription
from .opening import run_subscription as run_subscription
from .state import SubscriptionState as SubscriptionState
from .subscription import PullSubscription as PullSubscription
from .subscription import Subscription as Subscription
from .subscription import SubscriptionStatistics as SubscriptionStatistics
