"""Another program on our topics: confluent-kafka (librdkafka), told what to do by a test.

Usage: python tests/reference/kafka_client.py BROKERS read TOPIC COUNT
       python tests/reference/kafka_client.py BROKERS write TOPIC < records
Reads COUNT committed records and prints one JSON list per record: partition, offset, key,
value, timestamp in milliseconds, the header `us`. Writes the records of the standard input,
one JSON object per line, keyed by `product_id`, to the partition of Kafka's own rule, and
prints where each one went.
"""

import json
import sys

from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition


def read(brokers, topic, count):
    consumer = Consumer(
        {
            "bootstrap.servers": brokers,
            "group.id": "another-program",
            "isolation.level": "read_committed",
            "enable.auto.commit": False,
        }
    )
    partitions = consumer.list_topics(topic, timeout=20).topics[topic].partitions
    consumer.assign([TopicPartition(topic, p, OFFSET_BEGINNING) for p in partitions])
    found = 0
    while found < count:
        messages = consumer.consume(count - found, timeout=20)
        if not messages:
            sys.exit(f"{found} of {count} records came")
        for message in messages:
            if message.error():
                sys.exit(str(message.error()))
            headers = dict(message.headers() or [])
            micros = int.from_bytes(headers["us"], "big") if "us" in headers else None
            place = [message.partition(), message.offset()]
            text = [message.key().decode(), message.value().decode()]
            print(json.dumps([*place, *text, message.timestamp()[1], micros]))
            found += 1
    consumer.close()


def write(brokers, topic):
    producer = Producer({"bootstrap.servers": brokers, "partitioner": "murmur2_random"})
    places = []

    def written(error, message):
        if error:
            sys.exit(str(error))
        places.append([message.key().decode(), message.partition()])

    for line in sys.stdin:
        record = json.loads(line)
        producer.produce(
            topic,
            key=record["product_id"],
            value=line.strip(),
            timestamp=record["timestamp_ms"],
            on_delivery=written,
        )
    if producer.flush(20):
        sys.exit("not everything was written")
    print(json.dumps(places))


brokers, what, topic = sys.argv[1:4]
if what == "read":
    read(brokers, topic, int(sys.argv[4]))
else:
    write(brokers, topic)
