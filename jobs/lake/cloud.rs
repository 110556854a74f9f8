//! From a URL and the profile's options to an object store in the cloud.
//!
//! S3 is always in; Google's and Azure's are features of the build, on by default. Settings come in three layers, each
//! over the one before: the defaults below, the provider's own environment variables (`AWS_REGION`, `AWS_ENDPOINT_URL`,
//! …), and the profile's `storage_options` and `storage_secrets`. Their names are object_store's, with or without the
//! provider's prefix: `aws_region` or `region`. Two more say how often and for how long a request is tried again.

use std::collections::HashMap;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::AmazonS3Builder;
use object_store::{BackoffConfig, ObjectStore, RetryConfig};
use url::Url;

use super::remote::Remote;
use crate::clock;
use crate::error::{Error, Result};

/// What a request may take, its body included, and its connection. Files have at most some hundred megabytes.
const DEFAULTS: [(&str, &str); 2] = [("timeout", "60 seconds"), ("connect_timeout", "5 seconds")];
const MAX_RETRIES: &str = "max_retries";
const RETRY_TIMEOUT: &str = "retry_timeout";

/// The object store of a URL's bucket, from the bucket's root.
///
/// # Errors
/// `Definition` if this build has no such storage, the URL names no bucket, or an option is unknown or invalid.
pub(super) fn store(root: &Url, options: &HashMap<String, String>) -> Result<Arc<dyn ObjectStore>> {
    let provider = provider(root)?;
    if root.host_str().unwrap_or_default().is_empty() {
        return Err(Error::definition(format!(
            "{root} names no bucket\n  expected: {}://bucket/prefix",
            root.scheme()
        )));
    }
    let settings = Settings::new(provider, options);
    let store: Arc<dyn ObjectStore> = match provider {
        Provider::Amazon => {
            let builder = AmazonS3Builder::new().with_url(root.as_str()).with_retry(settings.retry()?);
            let set = |builder: AmazonS3Builder, key, value: &str| builder.with_config(key, value);
            Arc::new(settings.apply(builder, set)?.build().map_err(invalid)?)
        }
        #[cfg(feature = "gcs")]
        Provider::Google => {
            use object_store::gcp::GoogleCloudStorageBuilder as Builder;
            let builder = Builder::new().with_url(root.as_str()).with_retry(settings.retry()?);
            let set = |builder: Builder, key, value: &str| builder.with_config(key, value);
            Arc::new(settings.apply(builder, set)?.build().map_err(invalid)?)
        }
        #[cfg(feature = "azure")]
        Provider::Azure => {
            use object_store::azure::MicrosoftAzureBuilder as Builder;
            let builder = Builder::new().with_url(root.as_str()).with_retry(settings.retry()?);
            let set = |builder: Builder, key, value: &str| builder.with_config(key, value);
            Arc::new(settings.apply(builder, set)?.build().map_err(invalid)?)
        }
    };
    Ok(Arc::new(Remote::new(store, &root[..url::Position::BeforePath])))
}

#[derive(Debug, Clone, Copy)]
enum Provider {
    Amazon,
    #[cfg(feature = "gcs")]
    Google,
    #[cfg(feature = "azure")]
    Azure,
}

impl Provider {
    /// How its options begin, and in capitals its environment variables.
    fn prefix(self) -> &'static str {
        match self {
            Provider::Amazon => "aws_",
            #[cfg(feature = "gcs")]
            Provider::Google => "google_",
            #[cfg(feature = "azure")]
            Provider::Azure => "azure_",
        }
    }
}

fn provider(root: &Url) -> Result<Provider> {
    let absent = |found: &str, help: &str| {
        Err(Error::definition(format!(
            "no storage for {found}:// in this build\n  expected: a directory, or a URL such as s3://bucket/prefix\n  \
             help: {help}"
        )))
    };
    match root.scheme() {
        "s3" | "s3a" => Ok(Provider::Amazon),
        #[cfg(feature = "gcs")]
        "gs" => Ok(Provider::Google),
        #[cfg(feature = "azure")]
        "az" | "azure" | "abfs" | "abfss" => Ok(Provider::Azure),
        #[cfg(not(feature = "gcs"))]
        "gs" => absent("gs", "build with `cargo build --features gcs`"),
        #[cfg(not(feature = "azure"))]
        other @ ("az" | "azure" | "abfs" | "abfss") => absent(other, "build with `cargo build --features azure`"),
        other => absent(other, "correct the URL"),
    }
}

/// Settings by name, without the provider's prefix.
struct Settings {
    prefix: &'static str,
    /// From the environment, which may hold what is no setting of ours.
    lenient: Vec<(String, String)>,
    strict: Vec<(String, String)>,
}

impl Settings {
    fn new(provider: Provider, options: &HashMap<String, String>) -> Settings {
        let prefix = provider.prefix();
        let bare = |(name, value): (String, String)| {
            let name = name.to_ascii_lowercase();
            (name.strip_prefix(prefix).unwrap_or(&name).to_string(), value)
        };
        let environment = clock::env_with_prefix(&prefix.to_ascii_uppercase());
        let mut strict: Vec<(String, String)> = options.clone().into_iter().map(bare).collect();
        strict.sort();
        Settings { prefix, lenient: environment.into_iter().map(bare).collect(), strict }
    }

    /// Bounded, so that storage that is gone ends a job with 75 within minutes.
    fn retry(&self) -> Result<RetryConfig> {
        let wanted = |name: &str, default: u64| match self.last(name) {
            None => Ok(default),
            Some(text) => text.trim_end_matches('s').trim().parse().map_err(|_| {
                Error::definition(format!(
                    "storage option {name} is {text:?}\n  expected: a whole number, for a time in seconds, such as 60s"
                ))
            }),
        };
        Ok(RetryConfig {
            backoff: BackoffConfig::default(),
            max_retries: usize::try_from(wanted(MAX_RETRIES, 10)?).unwrap_or(usize::MAX),
            retry_timeout: Duration::from_secs(wanted(RETRY_TIMEOUT, 60)?),
        })
    }

    fn last(&self, name: &str) -> Option<&str> {
        let all = self.lenient.iter().chain(&self.strict).rev();
        all.filter(|(found, _)| found == name).map(|(_, value)| value.as_str()).next()
    }

    /// Gives a builder all settings, in order.
    fn apply<B, K: FromStr>(&self, builder: B, set: impl Fn(B, K, &str) -> B) -> Result<B> {
        let key = |name: &str| format!("{}{name}", self.prefix).parse::<K>().or_else(|_| name.parse::<K>()).ok();
        let defaults = DEFAULTS.iter().filter_map(|(name, value)| Some((key(name)?, *value)));
        let lenient = self.lenient.iter().filter_map(|(name, value)| Some((key(name)?, value.as_str())));
        let mut builder = defaults.chain(lenient).fold(builder, |builder, (key, value)| set(builder, key, value));
        for (name, value) in self.strict.iter().filter(|(name, _)| name != MAX_RETRIES && name != RETRY_TIMEOUT) {
            let key = key(name).ok_or_else(|| {
                Error::definition(format!(
                    "{}{name} is no option of this storage\n  help: see docs/howto/object-storage.md",
                    self.prefix
                ))
            })?;
            builder = set(builder, key, value);
        }
        Ok(builder)
    }
}

/// Of a setting that cannot be: a value that is no number, a key that is missing.
fn invalid(e: object_store::Error) -> Error {
    Error::definition(format!("the profile's storage options do not make a storage: {e}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;

    fn open(url: &str, options: &[(&str, &str)]) -> Result<Arc<dyn ObjectStore>> {
        let options = options.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
        store(&Url::parse(url).unwrap(), &options)
    }

    #[test]
    fn options_go_with_and_without_prefix_and_say_nothing_of_secrets() {
        let options =
            [("aws_region", "eu-central-1"), ("secret_access_key", "hush-hush"), ("aws_access_key_id", "AKIASECRET")];
        let store = open("s3://bucket/lake/", &options).unwrap();
        assert!(!format!("{store:?} {store}").contains("hush"), "{store:?}");
        assert!(!format!("{store:?} {store}").contains("AKIASECRET"), "{store:?}");
    }

    #[test]
    fn what_cannot_be_is_refused_by_name() {
        let says = |url: &str, options: &[(&str, &str)], text: &str| {
            let error = open(url, options).unwrap_err();
            assert_eq!(error.kind(), Kind::Definition);
            assert!(error.to_string().contains(text), "{error}");
        };
        says("s3://bucket/", &[("aws_regoin", "x")], "aws_regoin is no option");
        says("s3:///lake", &[], "names no bucket");
        says("s3://bucket/", &[("max_retries", "often")], "max_retries is \"often\"");
        says("s3://bucket/", &[("timeout", "soon")], "storage options");
        says("ftp://host/lake", &[], "no storage for ftp://");
        #[cfg(not(feature = "azure"))]
        says("az://container/lake", &[], "--features azure");
        #[cfg(not(feature = "gcs"))]
        says("gs://bucket/lake", &[], "--features gcs");
    }

    #[test]
    fn retries_are_bounded_by_default_and_as_asked() {
        let retry = |options: &[(&str, &str)]| {
            let options = options.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
            Settings::new(Provider::Amazon, &options).retry().unwrap()
        };
        assert_eq!((retry(&[]).max_retries, retry(&[]).retry_timeout.as_secs()), (10, 60));
        let asked = retry(&[("aws_max_retries", "3"), ("retry_timeout", "2s")]);
        assert_eq!((asked.max_retries, asked.retry_timeout.as_secs()), (3, 2));
    }
}
