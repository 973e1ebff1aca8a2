"""S3 for the JVM engines: Hadoop's file system with the few modules of the AWS SDK that it needs."""

from __future__ import annotations

from pathlib import Path

from credit_risk_assets.config.settings import StorageSettings

AWS_SDK_VERSION = "2.40.2"
AWS_SDK_MODULES = ("s3", "s3-transfer-manager", "sts")
LEFT_OUT = "software.amazon.awssdk:bundle"
"""The whole SDK in one JAR of several hundred megabytes, which hadoop-aws asks for."""


def hadoop_version(spark_jars: Path) -> str:
    """The version of Hadoop that Spark ships; its S3 file system must be of the same."""
    client = next(spark_jars.glob("hadoop-client-api-*.jar"))
    return client.stem.removeprefix("hadoop-client-api-")


def s3_packages(spark_jars: Path) -> list[str]:
    """The coordinates of S3's file system and of the SDK's modules."""
    modules = [f"software.amazon.awssdk:{name}:{AWS_SDK_VERSION}" for name in AWS_SDK_MODULES]
    return [f"org.apache.hadoop:hadoop-aws:{hadoop_version(spark_jars)}", *modules]


def s3_conf(storage: StorageSettings) -> dict[str, str]:
    """Spark's settings for a lake on S3, without its keys: Spark hands them to its JVM on a command line."""
    if not storage.is_s3:
        return {}
    wanted = {
        "endpoint": storage.endpoint,
        "endpoint.region": storage.region,
        "connection.ssl.enabled": "false" if storage.endpoint.startswith("http://") else "true",
        "path.style.access": "true" if storage.path_style else "false",
    }
    conf = {f"spark.hadoop.fs.s3a.{name}": value for name, value in wanted.items() if value}
    # The same addresses on every engine: s3://, which delta-rs and Sail know, is Hadoop's s3a://.
    return {"spark.hadoop.fs.s3.impl": "org.apache.hadoop.fs.s3a.S3AFileSystem", **conf}


def s3_keys(storage: StorageSettings) -> dict[str, str]:
    """What a running session is told beside it: the keys of the settings; without any, those of the environment."""
    if not storage.is_s3 or not storage.access_key.get_secret_value():
        return {}
    return {
        "fs.s3a.access.key": storage.access_key.get_secret_value(),
        "fs.s3a.secret.key": storage.secret_key.get_secret_value(),
        "fs.s3a.aws.credentials.provider": "org.apache.hadoop.fs.s3a.SimpleAWSCredentialsProvider",
    }
