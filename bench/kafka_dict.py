"""CPU-seconds of a Python consumer of trades: one-minute candles in a plain dictionary, or nothing at all.

Usage: python bench/kafka_dict.py HOST:PORT TRADES dict|noop TOPIC[,TOPIC]

Reads what `bench_kafka` wrote (JSON, two partitions per topic) with confluent-kafka, in batches, and writes each closed candle
to the topic `python`. No state is kept anywhere, nothing is committed: the lower bound of any stream in Python.
"""

import json
import resource
import sys

from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition
from confluent_kafka import version as client

PARTITIONS = 2
MINUTE_MS = 60_000

broker, count, mode, topics = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4].split(",")
consumer = Consumer({"bootstrap.servers": broker, "group.id": f"python-{mode}", "enable.auto.commit": False, "isolation.level": "read_committed"})
producer = Producer({"bootstrap.servers": broker})


def cpu():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


before, read, candles, bars = cpu(), 0, 0, {}
for number, topic in enumerate(topics):
    consumer.assign([TopicPartition(topic, partition, OFFSET_BEGINNING) for partition in range(PARTITIONS)])
    while read < count * (number + 1) // len(topics):
        for message in consumer.consume(5000, 5):
            if message.error():
                sys.exit(f"error: {message.error()}")
            read += 1
            if mode == "noop":
                continue
            trade = json.loads(message.value())
            key, minute, price = trade["product_id"], trade["timestamp_ms"] // MINUTE_MS, trade["price"]
            bar = bars.get(key)
            if bar is not None and bar[0] == minute:
                if price > bar[2]:
                    bar[2] = price
                if price < bar[3]:
                    bar[3] = price
                bar[4] = price
                bar[5] += trade["quantity"]
                continue
            if bar is not None:
                candle = {"product_id": key, "start": bar[0] * MINUTE_MS, "open": bar[1], "high": bar[2], "low": bar[3], "close": bar[4], "volume": bar[5]}
                producer.produce("python", json.dumps(candle), key=key)
                candles += 1
            bars[key] = [minute, price, price, price, price, trade["quantity"]]
        producer.poll(0)
producer.flush(10)
print(json.dumps({"peer": f"confluent-kafka {client()}", "mode": mode, "trades": read, "candles": candles, "cpu": cpu() - before}))
consumer.close()
