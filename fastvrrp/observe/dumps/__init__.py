"""keepalived's dumps of its state: keepalived.data, keepalived.stats and keepalived.json.

Their words are an interface: keepalived-exporter, VyOS and scripts read them. Everything here makes
text of plain values and writes it; it knows neither the loop nor the engine.
"""
