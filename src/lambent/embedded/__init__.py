"""The process of the embedded services: moto, made part of Lambent. Imports nothing of the server.

`python -m lambent.embedded LISTENER PARENT`: the number of a listening socket that was handed over, and the process
whose end is its own. The first line of standard input are its settings (`settings.py`).
"""
