//! Who this process is to a cluster, and whom it trusts: SASL and TLS.
//!
//! Secrets come from the environment or a file that it names, never from an address: addresses
//! are logged and shown.

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

use krafka::auth::{AuthConfig, TlsConfig};

use crate::log::LogError;

/// How a password is proven.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SaslMechanism {
    /// It is sent (RFC 4616).
    Plain,
    /// That it is known is proven (RFC 5802, 7677), with SHA-256.
    ScramSha256,
    /// The same, with SHA-512.
    ScramSha512,
}

/// A user of the cluster.
#[derive(Clone, PartialEq, Eq)]
pub struct KafkaLogin {
    /// The name.
    pub username: String,
    /// The password; shown nowhere.
    pub password: String,
    /// How it is proven; without it sent, where nobody can read it on the way.
    pub mechanism: Option<SaslMechanism>,
}

impl fmt::Debug for KafkaLogin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaLogin")
            .field("username", &self.username)
            .field("mechanism", &self.mechanism)
            .finish_non_exhaustive()
    }
}

/// What a secured cluster asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KafkaSecurity {
    /// Whom this process says it is; nobody without it.
    pub login: Option<KafkaLogin>,
    /// The certificates (PEM) that a broker's has to be signed by, one of them; Mozilla's
    /// authorities without it.
    pub authorities: Option<PathBuf>,
    /// A certificate of this process (PEM) with its key, for clusters that ask for one.
    pub certificate: Option<(PathBuf, PathBuf)>,
}

const USERNAME: &str = "FORETELL_KAFKA_USERNAME";
const PASSWORD: &str = "FORETELL_KAFKA_PASSWORD";
const PASSWORD_FILE: &str = "FORETELL_KAFKA_PASSWORD_FILE";
const MECHANISM: &str = "FORETELL_KAFKA_MECHANISM";
const AUTHORITIES: &str = "FORETELL_KAFKA_CA_FILE";
const CERTIFICATE: &str = "FORETELL_KAFKA_CERTIFICATE_FILE";
const KEY: &str = "FORETELL_KAFKA_KEY_FILE";

fn refused(text: impl Into<String>) -> LogError {
    LogError::Access(text.into())
}

impl KafkaSecurity {
    /// What environment variables say: `FORETELL_KAFKA_USERNAME` with
    /// `FORETELL_KAFKA_PASSWORD_FILE` (or `FORETELL_KAFKA_PASSWORD`) and
    /// `FORETELL_KAFKA_MECHANISM` (`plain`, `scram-sha-256`, `scram-sha-512`);
    /// `FORETELL_KAFKA_CA_FILE`; `FORETELL_KAFKA_CERTIFICATE_FILE` with
    /// `FORETELL_KAFKA_KEY_FILE`.
    ///
    /// # Errors
    /// [`LogError::Access`] when one of them lacks another, or a file cannot be read.
    pub fn from_env() -> Result<Self, LogError> {
        Self::of(|name| std::env::var_os(name))
    }

    fn of(variable: impl Fn(&str) -> Option<OsString>) -> Result<Self, LogError> {
        let set = |name: &str| variable(name).filter(|value| !value.is_empty());
        let text = |name: &str| {
            let read = |value: OsString| value.into_string();
            set(name).map(read).transpose().map_err(|_| refused(format!("{name} is not UTF-8")))
        };
        let path = |name: &str| set(name).map(PathBuf::from);
        let password = match (text(PASSWORD)?, path(PASSWORD_FILE)) {
            (Some(_), Some(_)) => {
                let both = format!("{PASSWORD} and {PASSWORD_FILE} are both set: unset one");
                return Err(refused(both));
            }
            (Some(password), None) => Some(password),
            (None, Some(file)) => Some(first_line(&file)?),
            (None, None) => None,
        };
        let mechanism = text(MECHANISM)?.map(|name| mechanism(&name)).transpose()?;
        let login = match (text(USERNAME)?, password) {
            (Some(username), Some(password)) => Some(KafkaLogin { username, password, mechanism }),
            (Some(_), None) => {
                let lacks = format!(
                    "{USERNAME} is set without a password: name the file that \
                                     holds it in {PASSWORD_FILE}"
                );
                return Err(refused(lacks));
            }
            (None, Some(_)) => {
                let lacks =
                    format!("a password is set without {USERNAME}: set it to the user's name");
                return Err(refused(lacks));
            }
            (None, None) if mechanism.is_some() => {
                return Err(refused(format!("{MECHANISM} is set without {USERNAME}")));
            }
            (None, None) => None,
        };
        let certificate = match (path(CERTIFICATE), path(KEY)) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (None, None) => None,
            _ => {
                return Err(refused(format!(
                    "a certificate of this process needs its key: set both {CERTIFICATE} and {KEY}"
                )));
            }
        };
        Ok(Self { login, authorities: path(AUTHORITIES), certificate })
    }

    /// The same for the client; `None` where there is nothing to prove.
    pub(super) fn auth(&self, encrypted: bool) -> Result<Option<AuthConfig>, LogError> {
        if !encrypted && (self.authorities.is_some() || self.certificate.is_some()) {
            return Err(refused(format!(
                "{AUTHORITIES} and {CERTIFICATE} are for encrypted connections: write \
                 kafka+ssl://host:9093, or unset them"
            )));
        }
        let login = match &self.login {
            None => None,
            Some(KafkaLogin { username, password, mechanism }) => {
                let mechanism = match mechanism {
                    Some(mechanism) => *mechanism,
                    None if encrypted => SaslMechanism::Plain,
                    None => {
                        return Err(refused(format!(
                            "a password would be sent for everybody to read: write \
                             kafka+ssl://host:9093, or set {MECHANISM} to scram-sha-512"
                        )));
                    }
                };
                Some(match mechanism {
                    SaslMechanism::Plain => AuthConfig::sasl_plain(username, password),
                    SaslMechanism::ScramSha256 => AuthConfig::sasl_scram_sha256(username, password),
                    SaslMechanism::ScramSha512 => AuthConfig::sasl_scram_sha512(username, password),
                })
            }
        };
        if !encrypted {
            return Ok(login);
        }
        let mut tls = TlsConfig::new();
        if let Some(file) = &self.authorities {
            tls = tls.with_ca_cert(utf8(file)?);
        }
        if let Some((certificate, key)) = &self.certificate {
            tls = tls.with_client_cert(utf8(certificate)?, utf8(key)?);
        }
        Ok(Some(login.unwrap_or_else(AuthConfig::plaintext).with_tls(tls)))
    }
}

fn mechanism(name: &str) -> Result<SaslMechanism, LogError> {
    match name.to_ascii_lowercase().as_str() {
        "plain" => Ok(SaslMechanism::Plain),
        "scram-sha-256" => Ok(SaslMechanism::ScramSha256),
        "scram-sha-512" => Ok(SaslMechanism::ScramSha512),
        _ => Err(refused(format!(
            "{MECHANISM} is `{name}`: write plain, scram-sha-256 or scram-sha-512"
        ))),
    }
}

fn first_line(file: &Path) -> Result<String, LogError> {
    let shown = file.display();
    let text = std::fs::read_to_string(file)
        .map_err(|error| refused(format!("{PASSWORD_FILE} {shown} cannot be read: {error}")))?;
    match text.lines().next() {
        Some(line) if !line.is_empty() => Ok(line.to_owned()),
        _ => Err(refused(format!("{PASSWORD_FILE} {shown}: its first line is empty"))),
    }
}

fn utf8(path: &Path) -> Result<&str, LogError> {
    path.to_str().ok_or_else(|| refused(format!("{} is not UTF-8", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(variables: &[(&str, &str)]) -> Result<KafkaSecurity, LogError> {
        KafkaSecurity::of(|name| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| OsString::from(value))
        })
    }

    #[test]
    fn what_is_set_is_complete_or_refused_with_the_remedy() {
        assert_eq!(of(&[]).unwrap(), KafkaSecurity::default());
        let both = [(USERNAME, "me"), (PASSWORD, "hush")];
        let security = of(&both).unwrap();
        assert_eq!(security.login.as_ref().unwrap().password, "hush");
        assert!(!format!("{security:?}").contains("hush"), "{security:?}");
        for (variables, remedy) in [
            (&[(USERNAME, "me")][..], PASSWORD_FILE),
            (&[(PASSWORD, "hush")], USERNAME),
            (&[(MECHANISM, "plain")], USERNAME),
            (&[both[0], both[1], (MECHANISM, "gssapi")], "scram-sha-512"),
            (&[both[0], both[1], (PASSWORD_FILE, "f")], "unset one"),
            (&[both[0], (PASSWORD_FILE, "/no/such/file")], "/no/such/file"),
            (&[(CERTIFICATE, "c.pem")], KEY),
            (&[(KEY, "k.pem")], CERTIFICATE),
        ] {
            let error = of(variables).unwrap_err().to_string();
            assert!(error.contains(remedy) && !error.contains("hush"), "{error}");
        }
    }

    #[test]
    fn a_password_is_sent_where_nobody_can_read_it_on_the_way() {
        let login = |mechanism| KafkaSecurity {
            login: Some(KafkaLogin { username: "me".into(), password: "hush".into(), mechanism }),
            ..KafkaSecurity::default()
        };
        let error = login(None).auth(false).unwrap_err().to_string();
        assert!(error.contains("kafka+ssl://") && error.contains("scram-sha-512"), "{error}");
        assert!(!error.contains("hush"), "{error}");
        let found = |security: KafkaSecurity, encrypted| security.auth(encrypted).unwrap().unwrap();
        assert!(found(login(None), true).requires_tls());
        assert!(!found(login(Some(SaslMechanism::ScramSha512)), false).requires_tls());
        assert!(KafkaSecurity::default().auth(false).unwrap().is_none());
        assert!(!found(KafkaSecurity::default(), true).requires_sasl());
        let ca = KafkaSecurity { authorities: Some("ca.pem".into()), ..KafkaSecurity::default() };
        assert!(ca.auth(false).unwrap_err().to_string().contains("kafka+ssl://"));
    }
}
