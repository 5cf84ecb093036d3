"""Programs that drive other packages. Each is run by path, in a process and by an interpreter of its own, and knows nothing
of nncore; nncore never imports them.

    serve.py          answers requests on stdin and stdout
    torch_ops.py      PyTorch: torch_table.py, torch_products.py, torch_layers.py its kernels, torch_train.py its networks
    numpy_ops.py      NumPy's kernels
    sklearn_ops.py    scikit-learn's MLPClassifier
    *_assignment.py   CSV to predictions, whole programs
"""
