"""The speed of the suite beside Keras's own `fit`, PyTorch, JAX, NumPy and scikit-learn.

    python -m benchmarks.speed                                       # every row, into docs/performance.md
    python -m benchmarks.speed --rows mnist_mlp lstm_mnist --rounds 3
    python -m benchmarks.speed.quick --base main                     # this work tree beside a commit

`rows.py` has the trainings, `commands.py` the whole commands. Each of `pytorch.py`, `jax_scan.py`, `keras_default.py`,
`numpy_rbm.py` and `scikit.py` has one function for each row, and `bare/` the programs that do a command's work without
the suite. They do not import the suite.
"""
