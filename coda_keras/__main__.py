"""`python -m coda_keras`; see `coda_keras.start`."""

from coda_keras import start

if __name__ == "__main__":
    start.run()
