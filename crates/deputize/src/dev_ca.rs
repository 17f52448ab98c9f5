//! A certificate authority for development on this machine. It can speak for `localhost` and nothing else: whoever puts it
//! among their trusted authorities risks no other name.
use crate::data::Data;
use crate::failure::Failure;
use crate::output::say;
use crate::system::SystemClock;
use decision::{Clock, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    GeneralSubtree, IsCa, Issuer, KeyPair, KeyUsagePurpose, NameConstraints,
};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

const NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];
const DAY: i64 = 86_400;
/// Browsers refuse certificates that live longer than 398 days.
const LEAF_DAYS: i64 = 397;
const CA_DAYS: i64 = 3_650;

/// Options of `deputize dev-ca`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Where the files go
    #[arg(long, value_name = "FOLDER", default_value = "deputize-ca")]
    dir: PathBuf,
}

/// A certificate and its key.
pub(crate) struct Leaf {
    pub(crate) chain_pem: String,
    pub(crate) key_pem: String,
}

/// The authority of one folder.
pub(crate) struct DevCa {
    pub(crate) file: PathBuf,
    pub(crate) pem: String,
    key: KeyPair,
}

/// `deputize dev-ca`.
pub(crate) fn run(options: Options) -> Result<ExitCode, Failure> {
    let data = Data::open(&options.dir)?;
    let ca = DevCa::open(&data)?;
    let leaf = ca.leaf()?;
    let certificate = data.publish("localhost.pem", &leaf.chain_pem)?;
    let key = data.path("localhost.key");
    crate::data::replace(&key, leaf.key_pem.as_bytes())?;
    let ca = ca.file.display();
    say(format_args!("certificate authority  {ca}  (its key, ca.key beside it, is yours alone)"));
    say(format_args!("certificate            {}  for {}", certificate.display(), NAMES.join(", ")));
    say(format_args!("key                    {}", key.display()));
    say("");
    say("Let programs trust it:");
    say(format_args!("  Python  export REQUESTS_CA_BUNDLE={ca}"));
    say(format_args!("  Node    export NODE_EXTRA_CA_CERTS={ca}"));
    say(format_args!("  curl    curl --cacert {ca} …"));
    Ok(ExitCode::SUCCESS)
}

impl DevCa {
    /// The authority of this folder, made if there is none.
    pub(crate) fn open(data: &Data) -> Result<Self, Failure> {
        let made = || Ok(KeyPair::generate().map_err(failed)?.serialize_pem());
        let key = KeyPair::from_pem(&data.text("ca.key", made)?).map_err(|_| {
            let file = data.path("ca.key");
            Failure::new(format!("`{}` is no private key", file.display()), "delete it, and trust the new `ca.pem`")
        })?;
        let file = data.path("ca.pem");
        let pem = if let Ok(pem) = std::fs::read_to_string(&file) {
            pem
        } else {
            let pem = parameters(SystemClock.now())?.self_signed(&key).map_err(failed)?.pem();
            data.publish("ca.pem", &pem)?;
            pem
        };
        Ok(Self { file, pem, key })
    }

    /// A new certificate for this machine's own names.
    pub(crate) fn leaf(&self) -> Result<Leaf, Failure> {
        self.signed(NAMES.map(str::to_owned).into(), "localhost", ExtendedKeyUsagePurpose::ServerAuth)
    }

    /// A new certificate for a client of this name.
    pub(crate) fn client(&self, name: &str) -> Result<Leaf, Failure> {
        self.signed(Vec::new(), name, ExtendedKeyUsagePurpose::ClientAuth)
    }

    fn signed(&self, names: Vec<String>, subject: &str, usage: ExtendedKeyUsagePurpose) -> Result<Leaf, Failure> {
        let now = SystemClock.now();
        let key = KeyPair::generate().map_err(failed)?;
        let mut leaf = CertificateParams::new(names).map_err(failed)?;
        leaf.distinguished_name = DistinguishedName::new();
        leaf.distinguished_name.push(DnType::CommonName, subject);
        leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        leaf.extended_key_usages = vec![usage];
        leaf.use_authority_key_identifier_extension = true;
        let moment = |at: Timestamp| rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(at.0.unsigned_abs());
        (leaf.not_before, leaf.not_after) = (moment(now.plus(-DAY)), moment(now.plus(LEAF_DAYS * DAY)));
        // Name and key say who signs; the dates of these parameters play no part.
        let issuer = parameters(now)?;
        let certificate = leaf.signed_by(&key, &Issuer::from_params(&issuer, &self.key)).map_err(failed)?;
        Ok(Leaf { chain_pem: certificate.pem(), key_pem: key.serialize_pem() })
    }
}

fn parameters(now: Timestamp) -> Result<CertificateParams, Failure> {
    let mut ca = CertificateParams::new(Vec::new()).map_err(failed)?;
    ca.distinguished_name = DistinguishedName::new();
    ca.distinguished_name.push(DnType::CommonName, "deputize development CA (localhost only)");
    ca.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    ca.name_constraints = Some(NameConstraints {
        permitted_subtrees: vec![
            GeneralSubtree::DnsName("localhost".into()),
            GeneralSubtree::IpAddress(CidrSubnet::from_v4_prefix([127, 0, 0, 0], 8)),
            GeneralSubtree::IpAddress(CidrSubnet::from_v6_prefix(std::net::Ipv6Addr::LOCALHOST.octets(), 128)),
        ],
        excluded_subtrees: Vec::new(),
    });
    let moment = |at: Timestamp| rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(at.0.unsigned_abs());
    (ca.not_before, ca.not_after) = (moment(now.plus(-DAY)), moment(now.plus(CA_DAYS * DAY)));
    Ok(ca)
}

fn failed(error: rcgen::Error) -> Failure {
    Failure::plain(format!("no certificate could be made: {error}"))
}
