"""Five networks that differ by their seeds, alone and together: a committee is better than its best member.

Takes about eight seconds. The members make different mistakes; the mean of their probabilities, or a vote, outweighs them.
The committee is saved to a folder and read back: `nncore committee FOLDER --data NAME` evaluates it from the command line.
"""

import tempfile

from common import fit_options, load, network

import nncore as nn

train, test = load("mnist")
committee = nn.seed_committee(network, train, members=5, **fit_options(epochs=8))
for i, member in enumerate(committee.members):
    print(f"member {i}   {member.evaluate(test)}")
for how in ("average", "vote"):
    committee.how = how
    print(f"{how:8}   {committee.evaluate(test)}")

with tempfile.TemporaryDirectory() as folder:
    committee.save(f"{folder}/ours")
    again = nn.Committee.load(f"{folder}/ours")
print(f"read back  {again.evaluate(test)}")
