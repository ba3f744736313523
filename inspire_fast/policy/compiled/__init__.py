"""The compiled program: prefill, answers and actions of a batch of rows, in one call of the device.

1. The prompt is read. It ends at the first blank, or holds given answers: trusted ones, or a draft.
2. Drafted answers are verified in one pass; the longest prefix that the model agrees with is kept. A row continues from
   its first answer that is not kept. Where all are kept, step 3 has nothing to do.
3. Slot by slot, the model chooses among the allowed answers, then reads its choice and the text that follows in one
   chunk.
4. It writes action tokens under the action tokenizer's grammar until every row's chunk is complete. A script that does
   not act ends before.

Texts, tries and grammars are data, and so is the number of times that a loop runs: a call with one question does not
pay for the other slots, a call whose drafts are all kept does not pay for step 3.

Shapes: `b` rows, `q` question slots, `d` ids of the longest answer, `k` symbols (answer ids or action ids), `n` states,
`w` width of the network, `a` ids of the longest chunk.
"""

from inspire_fast.policy.compiled.arrays import ActionTables as ActionTables
from inspire_fast.policy.compiled.arrays import AnswerTables as AnswerTables
from inspire_fast.policy.compiled.arrays import Result as Result
from inspire_fast.policy.compiled.arrays import Sampling as Sampling
from inspire_fast.policy.compiled.program import answer_maps as answer_maps
from inspire_fast.policy.compiled.program import run as run
