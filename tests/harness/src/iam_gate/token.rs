//! The rules of a valid token (<https://docs.aws.amazon.com/AmazonElastiCache/latest/dg/auth-iam.html>,
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html>).

use std::collections::BTreeMap;
use std::fmt::Write;

use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use jiff::civil::DateTime;
use sha2::{Digest, Sha256};
use url::form_urlencoded;

use crate::lambda::LambdaBuilder;
use crate::percent_encoded::percent_encoded;

/// An IAM user, the user's cache, and the credentials that sign the user's tokens.
#[derive(Clone, Debug)]
pub struct IamUser {
    /// The user's id, which is also the user's name.
    pub name: String,
    /// The name of the cache.
    pub cache: String,
    /// The kind of the cache.
    pub kind: CacheKind,
    /// The region of the cache.
    pub region: String,
    /// The id of the access key.
    pub access_key_id: String,
    /// The secret key that signs tokens.
    pub secret_access_key: String,
    /// The session token of temporary credentials.
    pub session_token: Option<String>,
}

/// The kinds of cache, which expect different tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CacheKind {
    /// ElastiCache Serverless.
    Serverless,
    /// A node-based cluster.
    ReplicationGroup,
}

/// The time for which a token is valid.
const LIFE_SECONDS: i64 = 900;

impl IamUser {
    /// A user with the credentials of a function.
    pub fn new(name: &str, cache: &str, kind: CacheKind) -> Self {
        Self {
            name: name.to_owned(),
            cache: cache.to_owned(),
            kind,
            region: "eu-central-1".to_owned(),
            access_key_id: "ASIATRUEBONDTEST".to_owned(),
            secret_access_key: "planted/aws+secret=0123456789".to_owned(),
            session_token: Some("planted/aws+session==0123456789".to_owned()),
        }
    }

    /// Adds this user's credentials and settings to the function.
    pub fn serving(&self, function: LambdaBuilder) -> LambdaBuilder {
        let kind = match self.kind {
            CacheKind::Serverless => "serverless",
            CacheKind::ReplicationGroup => "replication_group",
        };
        let function = function.envs(&[
            ("REDIS_AUTH", "iam"),
            ("REDIS_USER", &self.name),
            ("REDIS_CACHE_NAME", &self.cache),
            ("REDIS_CACHE_TYPE", kind),
            ("AWS_REGION", &self.region),
            ("AWS_ACCESS_KEY_ID", &self.access_key_id),
            ("AWS_SECRET_ACCESS_KEY", &self.secret_access_key),
        ]);
        match &self.session_token {
            Some(token) => function.env("AWS_SESSION_TOKEN", token),
            None => function,
        }
    }

    /// Checks that `user` is allowed to log in with `token` at `now`. The token must be signed after the connection of
    /// the login was accepted. The error is the reason why the login is refused.
    pub(super) fn judge(
        &self,
        user: &str,
        token: &str,
        accepted: Timestamp,
        now: Timestamp,
    ) -> Result<(), String> {
        let signed = self.check(user, token)?;
        let (now, accepted) = (now.as_second(), accepted.as_second());
        if signed > now || now - signed >= LIFE_SECONDS {
            return Err(format!(
                "expired or not yet valid: signed at {signed}, now {now}"
            ));
        }
        if signed < accepted {
            return Err(format!(
                "signed at {signed}, before its connection was accepted at {accepted}"
            ));
        }
        Ok(())
    }

    /// Checks a token. Returns the time at which the token was signed, in seconds since 1970.
    fn check(&self, user: &str, token: &str) -> Result<i64, String> {
        let (cache, query) = token.split_once("/?").ok_or("missing query")?;
        let mut members = BTreeMap::new();
        for (name, value) in form_urlencoded::parse(query.as_bytes()).into_owned() {
            if members.contains_key(&name) {
                return Err(format!("duplicate parameter `{name}`"));
            }
            members.insert(name, value);
        }
        let signature = members
            .remove("X-Amz-Signature")
            .ok_or("missing signature")?;
        let date = members.get("X-Amz-Date").ok_or("missing date")?.clone();
        let time: DateTime = date
            .strip_suffix('Z')
            .and_then(|date| date.parse().ok())
            .ok_or("missing date")?;
        let signed = time
            .to_zoned(jiff::tz::TimeZone::UTC)
            .map_err(|error| error.to_string())?;

        let day = date.get(..8).ok_or("missing day")?;
        let scope = format!("{day}/{}/elasticache/aws4_request", self.region);
        let mut expected = BTreeMap::from([
            ("Action", "connect".to_owned()),
            ("User", self.name.clone()),
            ("X-Amz-Algorithm", "AWS4-HMAC-SHA256".to_owned()),
            (
                "X-Amz-Credential",
                format!("{}/{scope}", self.access_key_id),
            ),
            ("X-Amz-Date", date.clone()),
            ("X-Amz-Expires", LIFE_SECONDS.to_string()),
            ("X-Amz-SignedHeaders", "host".to_owned()),
        ]);
        if self.kind == CacheKind::Serverless {
            expected.insert("ResourceType", "ServerlessCache".to_owned());
        }
        if let Some(token) = &self.session_token {
            expected.insert("X-Amz-Security-Token", token.clone());
        }
        let found = members
            .iter()
            .map(|(name, value)| (name.as_str(), value.clone()));
        if user != self.name || cache != self.cache || found.collect::<BTreeMap<_, _>>() != expected
        {
            return Err(format!("wrong user, cache or kind: {token}"));
        }

        let query: Vec<_> = members
            .iter()
            .map(|(name, value)| format!("{}={}", percent_encoded(name), percent_encoded(value)))
            .collect();
        let nothing = hexadecimal(&Sha256::digest(b""));
        let request = format!(
            "GET\n/\n{}\nhost:{cache}\n\nhost\n{nothing}",
            query.join("&")
        );
        let request = hexadecimal(&Sha256::digest(request.as_bytes()));
        let text = format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n{request}");
        let mut key = format!("AWS4{}", self.secret_access_key).into_bytes();
        for part in scope.split('/') {
            key = mac(&key, part);
        }
        match signature == hexadecimal(&mac(&key, &text)) {
            true => Ok(signed.timestamp().as_second()),
            false => Err("wrong signature".to_owned()),
        }
    }
}

fn mac(key: &[u8], text: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC accepts keys of any length");
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a String cannot fail");
        text
    })
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::{CacheKind, IamUser};

    /// Test vectors: a user, a token that AWS's library signed for this user, and the time of the signature.
    fn vectors() -> Vec<(IamUser, String, i64)> {
        let file =
            include_str!("../../../../shared/crates/redis-client/src/login/token/vectors.json");
        let file: Value = serde_json::from_str(file).expect("JSON");
        let vectors = file["vectors"].as_array().expect("vectors").iter();
        let vectors = vectors.map(|vector| {
            let text = |name: &str| vector[name].as_str().expect("text").to_owned();
            let user = IamUser {
                name: text("user"),
                cache: text("cache_name"),
                kind: match vector["cache_type"].as_str() {
                    Some("serverless") => CacheKind::Serverless,
                    _ => CacheKind::ReplicationGroup,
                },
                region: text("region"),
                access_key_id: text("access_key_id"),
                secret_access_key: text("secret_access_key"),
                session_token: vector["session_token"].as_str().map(str::to_owned),
            };
            let time = vector["time"].as_i64().expect("a time");
            (user, text("token"), time)
        });
        let vectors: Vec<_> = vectors.collect();
        assert!(vectors.len() >= 64);
        vectors
    }

    #[test]
    fn a_token_of_awss_own_library_is_valid() {
        for (user, token, time) in vectors() {
            assert_eq!(user.check(&user.name, &token), Ok(time));
        }
    }

    #[test]
    fn a_token_is_valid_for_fifteen_minutes_and_one_connection() {
        let (user, token, time) = vectors().remove(40);
        let at = |second| jiff::Timestamp::from_second(second).expect("in range");
        let judge = |accepted, now| user.judge(&user.name, &token, at(accepted), at(now));
        assert_eq!(judge(time, time), Ok(()));
        assert_eq!(judge(time - 1, time + 899), Ok(()));
        assert!(judge(time, time + 900).is_err());
        assert!(judge(time, time - 1).is_err());
        assert!(judge(time + 1, time + 1).is_err());
    }

    #[test]
    fn a_token_with_a_changed_character_is_invalid() {
        let (user, token, _) = vectors().remove(8);
        for place in 0..token.len() {
            let mut altered = token.clone().into_bytes();
            altered[place] = if altered[place] == b'0' { b'1' } else { b'0' };
            let altered = String::from_utf8(altered).expect("ASCII");
            let checked = user.check(&user.name, &altered);
            assert!(checked.is_err(), "character {place}: {altered}");
        }
    }
}
