"""What the engine itself knows at a decision: its account, its position, what other models say.

No function of the market tape: it is put together when a model that reads own state decides
(risk/own_kernel.py), one record for each slot, and own-state features are functions
`value(s, m, o)` that read it as `o` beside the market `m`. Money is float64 in minor units (1e-8 of
the run's quote currency). NaN is what is not known; a feature that needs it is NaN then, and the
signal HOLD.
"""

import numpy as np

OWN = np.dtype(
    [
        # whose state it is, said once when the run is planned
        ("owner", "i8"),  # model whose book it is
        ("signal_slot", "i8"),  # slot whose signal is read, -1 for none
        ("classifier_slot", "i8"),  # slot whose probability is read, -1 for none
        ("max_signal_age_ns", "i8"),  # an older signal is not known any more
        # the account
        ("equity", "f8"),  # at the mids of now
        ("peak", "f8"),  # the highest so far, as the gate keeps it
        ("at_risk", "f8"),  # lost if every position went to its stop; all of it where none stands
        ("held", "f8"),  # its position in the instrument at mid, signed
        ("peer_held", "f8"),  # and in the one that it is paired with; NaN where there is none
        ("taker_fee", "f8"),  # share of the notional
        # the owner
        ("position", "f8"),  # in the instrument at mid, signed
        ("cost", "f8"),  # what it cost, signed alike
        ("losses", "f8"),  # round trips lost since the last one that gained
        ("used", "f8"),  # exposure at cost: filled + resting + in flight + unknown
        ("limit", "f8"),  # of that
        # what the named models said last: probabilities, NaN when silent or too old
        ("signal_action", "f8"),  # Action
        ("signal_sell", "f8"),
        ("signal_hold", "f8"),
        ("signal_buy", "f8"),
        ("classifier_buy", "f8"),
    ],
    align=True,
)
