"""`python -m coda_keras`, which is another name of the command `coda-keras`."""

from coda_keras.commands.main import main

if __name__ == "__main__":
    main()
