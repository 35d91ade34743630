//! The token that an IAM user of ElastiCache logs in with: a presigned request that is never sent.
//!
//! The request is `GET http://<cache>/?Action=connect&User=<user>`; the token is the signed URL without its scheme.
//! It is valid for 15 minutes (<https://docs.aws.amazon.com/AmazonElastiCache/latest/dg/auth-iam.html>). Signing
//! needs no network, so each connection gets a new token. A cached token could expire together with the credentials
//! that signed it.

use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    SignableBody, SignableRequest, SignatureLocation, SigningSettings, sign,
};
use aws_sigv4::sign::v4;
use http::Request;
use url::form_urlencoded;

use crate::{CacheType, IamLogin};

/// The longest validity that ElastiCache accepts.
const LIFE: Duration = Duration::from_secs(900);
const SCHEME: &str = "http://";

/// Signs a token for `login` at the time `now`; `None` if the login cannot be signed.
pub(super) fn sign_token(
    login: &IamLogin,
    credentials: &Credentials,
    now: SystemTime,
) -> Option<String> {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query
        .append_pair("Action", "connect")
        .append_pair("User", &login.user);
    // A serverless cache needs this parameter, and a replication group rejects it.
    if login.cache_type == CacheType::Serverless {
        query.append_pair("ResourceType", "ServerlessCache");
    }
    let url = format!("{SCHEME}{}/?{}", login.cache_name, query.finish());

    let mut settings = SigningSettings::default();
    settings.signature_location = SignatureLocation::QueryParams;
    settings.expires_in = Some(LIFE);
    let identity = credentials.clone().into();
    let parameters = v4::SigningParams::builder()
        .identity(&identity)
        .region(&login.region)
        .name("elasticache")
        .time(now)
        .settings(settings)
        .build()
        .ok()?
        .into();
    let body = SignableBody::Bytes(&[]);
    let signable = SignableRequest::new("GET", &url, std::iter::empty(), body).ok()?;
    let (instructions, _) = sign(signable, &parameters).ok()?.into_parts();
    let mut request = Request::get(&url).body(()).ok()?;
    instructions.apply_to_request_http1x(&mut request);
    let token = request.uri().to_string();
    token.strip_prefix(SCHEME).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde::Deserialize;

    use super::*;

    /// A token signed by AWS's Python library; `vectors.py` writes the file.
    #[derive(Deserialize)]
    struct Vector {
        time: u64,
        access_key_id: String,
        secret_access_key: String,
        session_token: Option<String>,
        cache_type: String,
        cache_name: String,
        region: String,
        user: String,
        token: String,
    }

    fn vectors() -> Vec<Vector> {
        #[derive(Deserialize)]
        struct File {
            vectors: Vec<Vector>,
        }
        let file = serde_json::from_str(include_str!("token/vectors.json"));
        let File { vectors } = file.expect("vectors");
        assert!(vectors.len() >= 64);
        vectors
    }

    impl Vector {
        fn signed(&self) -> String {
            let cache_type = match self.cache_type.as_str() {
                "serverless" => CacheType::Serverless,
                _ => CacheType::ReplicationGroup,
            };
            let login = IamLogin {
                user: self.user.clone(),
                cache_name: self.cache_name.clone(),
                cache_type,
                region: self.region.clone(),
            };
            let credentials = Credentials::new(
                &self.access_key_id,
                &self.secret_access_key,
                self.session_token.clone(),
                None,
                "test",
            );
            let time = SystemTime::UNIX_EPOCH + Duration::from_secs(self.time);
            sign_token(&login, &credentials, time).expect("signed")
        }
    }

    /// The cache and the parameters of a token, its signature included, in any order.
    fn parameters(token: &str) -> (&str, BTreeSet<(String, String)>) {
        let (cache, query) = token.split_once('?').expect("a query");
        let parameters = form_urlencoded::parse(query.as_bytes()).into_owned();
        (cache, parameters.collect())
    }

    #[test]
    fn a_token_is_the_same_as_from_the_library_of_aws() {
        for vector in vectors() {
            assert_eq!(parameters(&vector.signed()), parameters(&vector.token));
        }
    }

    #[test]
    fn a_token_has_each_parameter_once_and_no_scheme() {
        for vector in vectors() {
            let token = vector.signed();
            let (cache, parameters) = parameters(&token);
            assert_eq!(cache, format!("{}/", vector.cache_name));
            assert_eq!(token.matches('&').count() + 1, parameters.len());
            let has = |name: &str| parameters.iter().any(|(parameter, _)| parameter == name);
            assert_eq!(has("ResourceType"), vector.cache_type == "serverless");
            assert_eq!(has("X-Amz-Security-Token"), vector.session_token.is_some());
            assert!(parameters.contains(&("X-Amz-Expires".to_owned(), "900".to_owned())));
        }
    }
}
