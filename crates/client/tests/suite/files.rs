//! Credentials in files: replaced while the program runs, and kept where the new ones are broken.
use crate::support::{Authority, Hands, NOON, build, issued};
use client::{Ask, AssertionAudience, Client, ClientBuilder, Endpoints};
use decision::Timestamp;
use jose::{Algorithm, SigningKey};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

/// A file that goes when the test ends.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str, text: &str) -> Self {
        let path = std::env::temp_dir().join(format!("deputize-client-{name}-{}", std::process::id()));
        std::fs::write(&path, text).unwrap();
        Self(path)
    }

    /// As platforms do it: a new file in the place of the old.
    fn replace(&self, text: &str) {
        let next = self.0.with_extension("next");
        std::fs::write(&next, text).unwrap();
        std::fs::rename(next, &self.0).unwrap();
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn builder() -> ClientBuilder {
    Client::builder(Endpoints::entra("https://login.example/contoso"), "orders")
}

/// A client, and what it sent in this field.
fn sending(builder: ClientBuilder, field: &'static str) -> (Client, Arc<Mutex<Vec<String>>>) {
    let sent = Arc::new(Mutex::new(Vec::new()));
    let keep = Arc::clone(&sent);
    let authority = Authority::new(move |_, form| {
        keep.lock().unwrap().push(form.value(field).unwrap_or_default().to_owned());
        issued("t", 3600)
    });
    (build(builder, &authority, &Hands::at(NOON)), sent)
}

async fn ask(client: &Client) {
    client.ask(&Ask::application("a").fresh(true)).await.unwrap();
}

#[tokio::test]
async fn a_secret_is_read_again_when_its_file_changes_and_stays_when_the_new_one_is_broken() {
    let file = Scratch::new("secret", " one\n");
    let (client, sent) = sending(builder().secret_file(&file.0).unwrap(), "client_secret");
    ask(&client).await;
    file.replace("two");
    ask(&client).await;
    file.replace("\n");
    ask(&client).await;
    std::fs::remove_file(&file.0).unwrap();
    ask(&client).await;
    // In the same place, of the same length, within one tick of the file system's clock.
    for secret in ["three", "seven", "eight"] {
        std::fs::write(&file.0, secret).unwrap();
        ask(&client).await;
    }
    assert_eq!(*sent.lock().unwrap(), ["one", "two", "two", "two", "three", "seven", "eight"]);
    let absent = builder().secret_file("/nowhere/at/all").err().unwrap();
    assert_eq!(absent.path, "/nowhere/at/all", "a mistake shows at the start");
}

#[tokio::test]
async fn a_private_key_is_replaced_with_its_name() {
    let jwk =
        |kid: &str, d: &str, x: &str| format!(r#"{{"kty":"OKP","crv":"Ed25519","kid":"{kid}","d":"{d}","x":"{x}"}}"#);
    // RFC 8037 appendix A, and RFC 8032 section 7.1, test 2.
    let one = jwk("one", "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A", "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo");
    let two = jwk("two", "TM0Imyj_ltqdtsNG7BFOD1uKMZ81q6Yk2oz27U-4pvs", "PUAXw-hDiVqStwqnTRt-vJyYLM8uxJaMwM1V8Sr0Zgw");
    let file = Scratch::new("key", &one);
    let (client, sent) = sending(builder().key_file(&file.0, AssertionAudience::Issuer).unwrap(), "client_assertion");
    ask(&client).await;
    file.replace(&two);
    ask(&client).await;
    file.replace(&two.replace("PUAX", "AAAA"));
    ask(&client).await;
    let kid = |text: &String| jose::Token::parse(text).unwrap().header().kid.clone().unwrap();
    assert_eq!(sent.lock().unwrap().iter().map(kid).collect::<Vec<_>>(), ["one", "two", "two"]);
    file.replace("{}");
    let broken = builder().key_file(&file.0, AssertionAudience::Issuer).err().unwrap();
    assert!(broken.to_string().contains("`kty`"), "{broken}");
}

#[tokio::test]
async fn a_certificate_and_its_key_change_together_or_not_at_all() {
    let made = || {
        let key = SigningKey::generate(Algorithm::PS256).unwrap();
        let der = key.self_signed("orders", Timestamp(0), Timestamp(NOON * 2)).unwrap();
        (
            pem("PRIVATE KEY", key.pkcs8()),
            pem("CERTIFICATE", &der),
            jose::assertion::Certificate::from_der(&der).unwrap(),
        )
    };
    let (first, second) = (made(), made());
    let (key, certificate) = (Scratch::new("pem-key", &first.0), Scratch::new("pem-certificate", &first.1));
    let files = builder().certificate_files(&key.0, &certificate.0).unwrap();
    let (client, sent) = sending(files, "client_assertion");
    ask(&client).await;
    key.replace(&second.0);
    ask(&client).await;
    certificate.replace(&second.1);
    ask(&client).await;
    let thumbprint = |text: &String| jose::Token::parse(text).unwrap().header().x5t_s256.clone().unwrap();
    let [one, two] = [first.2.x5t_s256(), second.2.x5t_s256()];
    assert_eq!(sent.lock().unwrap().iter().map(thumbprint).collect::<Vec<_>>(), [one, one, two]);
}

fn pem(kind: &str, der: &[u8]) -> String {
    use base64::Engine;
    let body = base64::engine::general_purpose::STANDARD.encode(der);
    format!("-----BEGIN {kind}-----\n{body}\n-----END {kind}-----\n")
}
