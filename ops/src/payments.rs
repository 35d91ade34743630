//! The commands `payments open`, `payments show` and `payments settle`.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};
use shared::App;
use shared::deadline::Deadline;
use shared::payments::{OpenPayments, Payment, PaymentAdminError, ProviderFinding, Timestamp};

use crate::advice;
use crate::arguments::{Form, Payments};
use crate::page::Page;
use crate::quantities::{ago, money};
use crate::report::Report;

pub(crate) async fn run(
    app: &App,
    command: Payments,
    form: Form,
    deadline: Deadline,
) -> Result<Report, String> {
    let payments = app.payment_admin();
    let failed = |error: PaymentAdminError| error.to_string();
    match command {
        Payments::Open { limit } => {
            let open = payments.open(limit, deadline).await.map_err(failed)?;
            Ok(Report {
                page: list(&open, form),
                is_complete: open.unreadable.is_empty(),
            })
        }
        Payments::Show { id } => {
            let found = payments
                .find(checked(&id)?, deadline)
                .await
                .map_err(failed)?;
            let payment = found.ok_or_else(|| missing(&id))?;
            let cancel_after = app.payments_config().cancel_after;
            Ok(Report::complete(details(
                &payment,
                None,
                cancel_after,
                form,
            )))
        }
        Payments::Settle { id } => {
            let reconciled = payments
                .reconcile(checked(&id)?, deadline)
                .await
                .map_err(failed)?;
            let (payment, found) = reconciled.ok_or_else(|| missing(&id))?;
            let cancel_after = app.payments_config().cancel_after;
            Ok(Report::complete(details(
                &payment,
                Some(found),
                cancel_after,
                form,
            )))
        }
    }
}

fn checked(id: &str) -> Result<&str, String> {
    if Payment::is_id(id) {
        Ok(id)
    } else {
        Err(format!(
            "`{id}` is not a payment id; expected `pay_` and 32 lower-case hexadecimal digits"
        ))
    }
}

fn missing(id: &str) -> String {
    format!("payment `{id}` not found in this ledger; check ENVIRONMENT and MONGODB_DATABASE")
}

/// The open payments, and below them the ids of unreadable rows.
fn list(open: &OpenPayments, form: Form) -> Page {
    if form == Form::Json {
        let payments = open.payments.iter().map(document);
        let unreadable = open.unreadable.iter().map(
            |id| json!({ "id": id, "unreadable": true, "advice": advice::UNREADABLE_PAYMENT }),
        );
        return Page::json(&Value::from_iter(payments.chain(unreadable)));
    }
    let readable = match (&open.payments[..], &open.unreadable[..]) {
        ([], []) => return Page::line("No payment is open."),
        ([], _) => Page::line("No readable payment is open."),
        (payments, []) => return readable_list(payments),
        (payments, _) => readable_list(payments),
    };
    let mut page = readable.with_paragraph("UNREADABLE");
    for id in &open.unreadable {
        page = page.with_line(id);
    }
    page.with_paragraph(&format!("unreadable: {}", advice::UNREADABLE_PAYMENT))
}

fn readable_list(payments: &[Payment]) -> Page {
    let now = Timestamp::now();
    let rows: Vec<_> = payments
        .iter()
        .map(|payment| {
            [
                payment.id.clone(),
                payment.state.name().to_owned(),
                ago(payment.created_at.age(now)),
                ago(payment.status_since.age(now)),
                payment.looked_at.map_or_else(never, |at| ago(at.age(now))),
                amount(payment),
                payment.intent.clone().unwrap_or_else(|| "-".to_owned()),
            ]
        })
        .collect();
    let heading = [
        "PAYMENT",
        "STATE",
        "CREATED",
        "SINCE",
        "LOOKED AT",
        "AMOUNT",
        "INTENT",
    ];
    let mut page = Page::table(heading, &rows);
    let advice = payments
        .iter()
        .map(|payment| (payment.state.name(), advice::for_payment(payment)));
    for (state, advice) in BTreeSet::from_iter(advice) {
        page = page.with_paragraph(&format!("{state}: {advice}"));
    }
    page
}

fn details(
    payment: &Payment,
    found: Option<ProviderFinding>,
    cancel_after: Duration,
    form: Form,
) -> Page {
    let end = advice::end_of_payment(payment, cancel_after);
    if form == Form::Json {
        let mut document = document(payment);
        document["found_at_provider"] = found.map(advice::found).into();
        document["ends"] = end.into();
        return Page::json(&document);
    }
    let now = Timestamp::now();
    let or_none = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    let when = |moment: Timestamp| format!("{moment} ({})", ago(moment.age(now)));
    let mut pairs = vec![
        ("payment", payment.id.clone()),
        ("state", payment.state.name().to_owned()),
        ("amount", amount(payment)),
        ("tenant", payment.tenant.clone()),
        ("created", when(payment.created_at)),
        ("in this state since", when(payment.status_since)),
        ("looked at", payment.looked_at.map_or_else(never, when)),
        ("provider", payment.provider.clone()),
        ("intent", or_none(&payment.intent)),
        (
            "real money",
            if payment.livemode { "yes" } else { "no" }.to_owned(),
        ),
    ];
    if payment.decline_code.is_some() {
        pairs.push(("declined for", or_none(&payment.decline_code)));
    }
    pairs.extend(found.map(|found| ("found at provider", advice::found(found))));
    pairs.extend(end.map(|end| ("ends", end)));
    Page::list(&pairs).with_paragraph(advice::for_payment(payment))
}

fn document(payment: &Payment) -> Value {
    json!({
        "id": payment.id,
        "state": payment.state,
        "is_final": !payment.state.is_open(),
        "amount": payment.order.amount,
        "currency": payment.order.currency,
        "tenant": payment.tenant,
        "provider": payment.provider,
        "intent": payment.intent,
        "livemode": payment.livemode,
        "decline_code": payment.decline_code,
        "created_at": payment.created_at,
        "status_since": payment.status_since,
        "looked_at": payment.looked_at,
        "advice": advice::for_payment(payment),
    })
}

fn amount(payment: &Payment) -> String {
    let order = &payment.order;
    money(order.amount, &order.currency, order.minor_digits())
}

fn never() -> String {
    "never".to_owned()
}
