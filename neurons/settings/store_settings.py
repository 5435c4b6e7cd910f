"""`[store]`: the section of settings on object stores. Secrets of it are typed, and no flags."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, SecretStr


class StoreSettings(BaseModel):
    """`[store]`: where one's own files go, and where other people's may be read."""

    model_config = ConfigDict(extra="forbid")

    locator: str | None = Field(
        None, description="public URL where others read one's files; without upload, file:///folder"
    )
    upload: str | None = Field(
        None, description="s3://bucket/path, written to and read by others at the locator"
    )
    endpoint: str | None = Field(None, description="URL of the S3 service; None: AWS's")
    ca_file: Path | None = Field(
        None,
        description="PEM file of a private authority, trusted beside the system's for endpoint and "
        "locator alone",
    )
    region: str | None = Field(None, description="of the bucket; needed at AWS alone")
    credentials: Path | None = Field(
        None, description="file with the bucket's keys, as AWS's tools keep it; None: as below"
    )
    profile: str = Field("default", description="section of that file")
    access_key_id: SecretStr | None = Field(
        None, description="of the bucket's key; AWS_ACCESS_KEY_ID serves as well"
    )
    secret_access_key: SecretStr | None = Field(
        None, description="AWS_SECRET_ACCESS_KEY serves as well"
    )
    session_token: SecretStr | None = Field(
        None, description="where the key has one; AWS_SESSION_TOKEN serves as well"
    )
    readable: tuple[str, ...] = Field(
        (),
        description="URLs: below these, locators on chain are read wherever they lead; "
        "elsewhere only https at public addresses",
    )
    mirrors: tuple[str, ...] = Field(
        (), description="URLs: checkpoints and submissions are read from these, too"
    )
