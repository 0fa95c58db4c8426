"""What the contract says of each operation, as a failure quotes it."""

PROMISES = {
    "append": "an id for each record, growing, in the order of the list; a record whose key is "
    "remembered is stored once, and answers the id of the first one",
    "append_nowait": "the record stands behind what was queued before; on_result is called exactly "
    "once, with what append would have returned",
    "append_persisted": "ids as append gives them, or Unsupported for each, and then nothing is "
    "stored",
    "schedule": "the record is kept until it is due; a uid that waits is not scheduled again, and "
    "one with a remembered end answers the uid that was scheduled first",
    "cancel_scheduled": "takes the record out of the schedule, and says whether it was there",
    "create_group": "makes sure that the group exists; says whether it is new; an existing one is "
    "not changed",
    "info": "every entry is in exactly one place: not delivered, pending for one consumer, "
    "released, delayed, a suspect, dead, or finished; an operation changes what it says, and "
    "nothing else",
    "read": "new entries in the order of the stream, each delivered to one reader of the group, "
    "with attempt 1; a cancelled read loses nothing: what arrives with the cancellation is "
    "released, uncounted",
    "look": "what is scheduled and due is appended, first what is due first; entries whose owner "
    "lost its lease can be taken then; what was deleted meanwhile is told as gone",
    "woken": "whoever waits is woken by everything that hands back an entry of its group or "
    "schedules a message of its topic, and is told in how many seconds",
    "take_over": "what is due comes first, then what was released, then what was abandoned; the "
    "attempt counts every delivery but those that were released; what is over the limit is buried, "
    "what was deleted is told as gone, what lost its owner again and again is set apart; "
    "cancelled, it releases what it took, uncounted",
    "take_booked": "takes a suspect that is set apart, and nothing else",
    "keep_booking": "books a suspect for another lease; says whether it is still set apart",
    "give_up_booking": "any member may book the suspect at once",
    "settle": "one result for each settlement, in order: a receipt has an effect only while the "
    "entry is pending for this consumer with this count of deliveries; otherwise it is lost, or "
    "absent if nobody has it; what was deleted is gone",
    "renew": "the lease of what is ours begins anew; what is not ours is lost or absent and does "
    "not change, and what was deleted is gone",
    "forget": "removes this consumer, unless it owns entries; says whether it is gone",
}
