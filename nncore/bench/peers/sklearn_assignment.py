"""The assignment by scikit-learn, one cold process: course CSV files to both prediction files.

    python sklearn_assignment.py DATA OUT THREADS SEED

784-128-10, batch 256, 8 epochs of Adam at 2e-3, constant: MLPClassifier has no schedule for Adam.
"""

import glob
import os
import sys
import warnings

import numpy as np
from sklearn.neural_network import MLPClassifier


def read(folder, kind):
    (path,) = glob.glob(os.path.join(folder, f"*{kind}.csv"))
    return np.loadtxt(path, delimiter=",", dtype=np.uint8)


def main():
    folder, out, _, seed = sys.argv[1:]  # the environment says how many threads
    warnings.simplefilter("ignore")  # 8 epochs are meant to be all
    x, labels = read(folder, "train_vectors").astype(np.float32), read(folder, "train_labels")
    mean, deviation = x.mean(), x.std()
    x = (x - mean) / deviation
    model = MLPClassifier((128,), batch_size=256, learning_rate_init=2e-3, max_iter=8, random_state=int(seed))
    model.fit(x, labels)
    test = (read(folder, "test_vectors").astype(np.float32) - mean) / deviation
    for kind, images in (("train", x), ("test", test)):
        with open(os.path.join(out, f"{kind}_predictions.csv"), "w") as file:
            file.write("\n".join(map(str, model.predict(images))) + "\n")


if __name__ == "__main__":
    main()
