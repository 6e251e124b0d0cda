"""Every fixed bound of the engine, with its reason. Nothing here grows at run time."""

MAX_INSTRUMENTS = 1024  # on one tape; indices are uint16
MAX_MODELS = 64  # per run: exposure is kept in arrays of this length
MAX_STRATEGIES = 64  # per run: each has its own books
MAX_SLOTS = 1024  # (model, instrument) pairs that decide
MAX_ORDERS = 256  # open paper orders: a plain scan of them costs about a nanosecond each
MAX_TRIGGERS = 256  # protective stops that stand at once
MAX_OUT = 512  # venue events waiting for Python; it drains them at every stop
MAX_FEATURES = 256  # features in one model's row
MAX_WINDOW = 256  # rows of features in the window of a sequence model
MAX_OUTPUTS = 16  # numbers in one model's output
AUDIT_BUFFER = 8192  # records between two flushes of the audit (768 KiB)
AUDIT_MARGIN = 2048  # records that one row or stop may still write: MAX_OUT answers make 3 each
MAX_FLAT_BARS = 120  # empty bars in a row before a quiet market counts as closed
MAX_BARS = 16  # kinds of bars beside the base bars; each costs a few ns a trade
FINE_DUPLICATES = 64  # recent intents remembered by the duplicate check
ASKED_PLACES = 4  # open requests of a slot: in service, waiting, just superseded, and one spare
WAITING_ROWS = 64  # rows that wait for one shadow: what they cost comes at once
PENDING_PLACES = 256  # rows that wait for all shadows together
