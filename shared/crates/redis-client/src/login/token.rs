//! The token with which an IAM user logs in to ElastiCache: a request to connect, signed and never sent.
//!
//! It is the presigned `GET http://<cache>/?Action=connect&User=<user>` without its scheme, good for 15 minutes after it was
//! signed (<https://docs.aws.amazon.com/AmazonElastiCache/latest/dg/auth-iam.html>). Signing takes no round trip, so every
//! connection gets a token of its own; one that were kept could die with the credentials that signed it.

use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    SignableBody, SignableRequest, SignatureLocation, SigningSettings, sign,
};
use aws_sigv4::sign::v4;
use http::Request;
use url::form_urlencoded;

use crate::{CacheType, IamLogin};

/// The longest that ElastiCache accepts.
const LIFE: Duration = Duration::from_secs(900);
const SCHEME: &str = "http://";

/// A token for `login`, signed at `now`; `None` where something of it cannot be signed.
pub(super) fn sign_token(
    login: &IamLogin,
    credentials: &Credentials,
    now: SystemTime,
) -> Option<String> {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query
        .append_pair("Action", "connect")
        .append_pair("User", &login.user);
    // A replication group refuses what a serverless cache needs.
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

    /// A token by AWS's own library; vectors.py makes them.
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

    /// What a token says, its signature included. Its members may stand in any order.
    fn members(token: &str) -> (&str, BTreeSet<(String, String)>) {
        let (cache, query) = token.split_once('?').expect("a query");
        let members = form_urlencoded::parse(query.as_bytes()).into_owned();
        (cache, members.collect())
    }

    #[test]
    fn awss_library_signs_the_same_tokens() {
        for vector in vectors() {
            assert_eq!(members(&vector.signed()), members(&vector.token));
        }
    }

    #[test]
    fn a_token_has_each_member_once_and_no_scheme() {
        for vector in vectors() {
            let token = vector.signed();
            let (cache, members) = members(&token);
            assert_eq!(cache, format!("{}/", vector.cache_name));
            assert_eq!(token.matches('&').count() + 1, members.len());
            let says = |name: &str| members.iter().any(|(member, _)| member == name);
            assert_eq!(says("ResourceType"), vector.cache_type == "serverless");
            assert_eq!(says("X-Amz-Security-Token"), vector.session_token.is_some());
            assert!(members.contains(&("X-Amz-Expires".to_owned(), "900".to_owned())));
        }
    }
}
