//! Texts as services write them, and where an operator expects them.

use super::*;

const TEXTS: &[(&str, &str)] = &[
    // OpenAI
    (
        "rate_limited",
        "Rate limit reached for gpt-4o in organization org-abc on tokens per min (TPM): Limit 30000, Used 29512, Requested 1204. Please try again in 1.432s.",
    ),
    ("rate_limited", "429 Too Many Requests"),
    ("quota", "You exceeded your current quota, please check your plan and billing details."),
    (
        "quota",
        "Error code: 429 - {'error': {'message': 'You exceeded your current quota', 'type': 'insufficient_quota', 'code': 'insufficient_quota'}}",
    ),
    (
        "model",
        "This model's maximum context length is 8192 tokens. However, your messages resulted in 9310 tokens. Please reduce the length of the messages.",
    ),
    ("model", "The model `gpt-4-32k` does not exist or you do not have access to it."),
    (
        "model",
        "Error code: 400 - {'error': {'code': 'context_length_exceeded', 'type': 'invalid_request_error'}}",
    ),
    ("model", "Your request was rejected as a result of our safety system."),
    (
        "unauthorized",
        "Incorrect API key provided: sk-ab****cd. You can find your API key at https://platform.openai.com/account/api-keys.",
    ),
    (
        "unauthorized",
        "You didn't provide an API key. You need to provide your API key in an Authorization header",
    ),
    ("upstream", "The server had an error while processing your request. Sorry about that!"),
    ("upstream", "The engine is currently overloaded, please try again later"),
    (
        "invalid_input",
        "Invalid type for 'messages[0].content': expected a string, but got null instead.",
    ),
    ("invalid_input", "Unrecognized request argument supplied: max_token"),
    // Anthropic
    ("unauthorized", "invalid x-api-key"),
    (
        "unauthorized",
        r#"401 {"type":"error","error":{"type":"authentication_error","message":"invalid x-api-key"}}"#,
    ),
    (
        "quota",
        "Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing to upgrade or purchase credits.",
    ),
    (
        "upstream",
        r#"529 {"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#,
    ),
    (
        "upstream",
        r#"{"type":"error","error":{"type":"api_error","message":"Internal server error"}}"#,
    ),
    (
        "rate_limited",
        r#"{"type":"error","error":{"type":"rate_limit_error","message":"This request would exceed your organization's rate limit of 40,000 input tokens per minute."}}"#,
    ),
    ("model", "prompt is too long: 208310 tokens > 200000 maximum"),
    ("model", "max_tokens: 100000 > 8192, which is the maximum allowed number of output tokens"),
    ("invalid_input", "messages: at least one message is required"),
    (
        "unauthorized",
        r#"{"error":{"type":"permission_error","message":"Your API key does not have permission to use the specified resource."}}"#,
    ),
    // Google, Azure, AWS, Mistral, Cohere
    (
        "rate_limited",
        "Quota exceeded for quota metric 'Generate Content API requests per minute' and limit 'GenerateContent request limit per minute for a region'",
    ),
    ("rate_limited", "429 RESOURCE_EXHAUSTED"),
    ("unauthorized", "API key not valid. Please pass a valid API key."),
    ("unauthorized", "403 Request had insufficient authentication scopes."),
    (
        "model",
        "models/gemini-1.0 is not found for API version v1beta, or is not supported for generateContent",
    ),
    ("model", "The response was blocked: RECITATION"),
    ("upstream", "503 The model is overloaded. Please try again later."),
    ("timeout", "504 Deadline Exceeded"),
    (
        "model",
        "The response was filtered due to the prompt triggering Azure OpenAI's content management policy.",
    ),
    ("unauthorized", "Access denied due to invalid subscription key or wrong API endpoint."),
    (
        "not_found",
        r#"{"error":{"code":"DeploymentNotFound","message":"The API deployment for this resource does not exist."}}"#,
    ),
    ("rate_limited", "ThrottlingException: Too many requests, please wait before trying again."),
    (
        "invalid_input",
        "ValidationException: Malformed input request: #: required key [messages] not found, please reformat your input and try again.",
    ),
    (
        "unauthorized",
        "ExpiredTokenException: The security token included in the request is expired",
    ),
    (
        "unauthorized",
        "AccessDeniedException: User is not authorized to perform: bedrock:InvokeModel",
    ),
    ("upstream", "ServiceUnavailableException: Bedrock is unable to process your request."),
    ("rate_limited", "Requests rate limit exceeded"),
    ("not_found", "NoSuchKey: The specified key does not exist."),
    (
        "unauthorized",
        "SignatureDoesNotMatch: The request signature we calculated does not match the signature you provided. Check your key.",
    ),
    // HTTP clients
    ("network", "connect ECONNREFUSED 10.0.3.17:5432"),
    ("network", "read ECONNRESET"),
    ("network", "ECONNRESET"),
    ("network", "getaddrinfo ENOTFOUND api.crm.internal"),
    ("network", "getaddrinfo EAI_AGAIN hooks.example.com"),
    ("network", "socket hang up"),
    ("network", "TypeError: fetch failed"),
    ("network", "TypeError: Failed to fetch"),
    ("network", "TypeError: terminated: other side closed"),
    ("timeout", "connect ETIMEDOUT 52.1.2.3:443"),
    ("timeout", "timeout of 30000ms exceeded"),
    ("timeout", "AxiosError: timeout of 10000ms exceeded"),
    ("timeout", "HeadersTimeoutError: Headers Timeout Error"),
    ("timeout", "TimeoutError: The operation was aborted due to timeout"),
    ("upstream", "Request failed with status code 500"),
    ("upstream", "AxiosError: Request failed with status code 502"),
    ("rate_limited", "Request failed with status code 429"),
    ("unauthorized", "Request failed with status code 401"),
    ("unauthorized", "AxiosError: Request failed with status code 403"),
    ("not_found", "Request failed with status code 404"),
    ("invalid_input", "Request failed with status code 422"),
    ("invalid_input", "Response code 400 (Bad Request)"),
    ("quota", "HTTP 402 Payment Required"),
    (
        "timeout",
        "HTTPSConnectionPool(host='api.example.com', port=443): Read timed out. (read timeout=30)",
    ),
    (
        "network",
        "HTTPSConnectionPool(host='api.example.com', port=443): Max retries exceeded with url: /v1 (Caused by NewConnectionError('Failed to establish a new connection: [Errno 111] Connection refused'))",
    ),
    (
        "network",
        "ConnectionError: ('Connection aborted.', RemoteDisconnected('Remote end closed connection without response'))",
    ),
    (
        "upstream",
        "requests.exceptions.HTTPError: 503 Server Error: Service Unavailable for url: https://api.example.com/x",
    ),
    ("not_found", "404 Client Error: Not Found for url: https://api.example.com/x"),
    ("timeout", "httpx.ReadTimeout: The read operation timed out"),
    ("network", "httpx.ConnectError: [Errno -2] Name or service not known"),
    ("network", "httpx.RemoteProtocolError: Server disconnected without sending a response."),
    (
        "network",
        "aiohttp.client_exceptions.ClientConnectorError: Cannot connect to host api.example.com:443 ssl:default",
    ),
    ("network", "dial tcp: lookup api.example.com on 10.0.0.2:53: no such host"),
    (
        "network",
        "Post \"https://api.example.com\": dial tcp 10.1.2.3:443: connect: connection refused",
    ),
    (
        "timeout",
        "Get \"https://api.example.com\": context deadline exceeded (Client.Timeout exceeded while awaiting headers)",
    ),
    ("network", "x509: certificate has expired or is not yet valid"),
    ("network", "unexpected EOF"),
    ("network", "page.goto: net::ERR_NAME_NOT_RESOLVED at https://www.example.com/"),
    ("network", "net::ERR_CERT_DATE_INVALID at https://www.example.com/"),
    ("network", "java.net.UnknownHostException: api.example.com"),
    ("timeout", "java.net.SocketTimeoutException: Read timed out"),
    (
        "network",
        "error sending request for url (https://api.example.com/): connection closed before message completed",
    ),
    (
        "network",
        "curl: (35) OpenSSL SSL_connect: Connection reset by peer in connection to api.example.com:443",
    ),
    ("timeout", "curl: (28) Operation timed out after 30001 milliseconds with 0 bytes received"),
    // Gateways
    ("upstream", "502 Bad Gateway"),
    (
        "upstream",
        "<html><head><title>502 Bad Gateway</title></head><body><center><h1>502 Bad Gateway</h1></center><hr><center>nginx</center></body></html>",
    ),
    ("timeout", "504 Gateway Time-out"),
    ("upstream", "503 Service Temporarily Unavailable"),
    ("upstream", "error code: 520"),
    ("upstream", "error code: 521"),
    ("timeout", "error code: 524"),
    (
        "upstream",
        "upstream connect error or disconnect/reset before headers. reset reason: connection failure",
    ),
    ("upstream", "no healthy upstream"),
    ("timeout", "upstream request timeout"),
    ("upstream", "HTTP 500"),
    ("upstream", r#"{"statusCode":500,"message":"Something happened"}"#),
    // Code
    ("code", "TypeError: Cannot read properties of undefined (reading 'timeout')"),
    ("code", "TypeError: items.map is not a function"),
    ("code", "ReferenceError: total is not defined"),
    ("code", "SyntaxError: Unexpected token < in JSON at position 0"),
    ("code", "SyntaxError: Unexpected end of JSON input"),
    ("code", "RangeError: Maximum call stack size exceeded"),
    ("code", "RangeError: Invalid array length"),
    (
        "code",
        "Traceback (most recent call last):\n  File \"step.py\", line 3, in <module>\n    rows[0]\nIndexError: list index out of range",
    ),
    ("code", "KeyError: 'customer'"),
    ("code", "AttributeError: 'NoneType' object has no attribute 'get'"),
    ("code", "ZeroDivisionError: division by zero"),
    ("code", "json.decoder.JSONDecodeError: Expecting value: line 1 column 1 (char 0)"),
    ("code", "ModuleNotFoundError: No module named 'pandas'"),
    ("code", "thread 'main' panicked at src/main.rs:3:5"),
    ("code", "java.lang.NullPointerException"),
    ("code", "Process exited with code 137"),
    ("code", "CustomerSyncError: nothing to do"),
    ("code", "KeyError: 'timeout'"),
    ("code", "TypeError: Cannot destructure property 'billing' of 'order' as it is undefined."),
    ("code", "AssertionError: upstream table must be sorted"),
    // Words that other classes have too.
    (
        "quota",
        "openai.RateLimitError: Error code: 429 - {'error': {'message': 'You exceeded your current quota', 'code': 'insufficient_quota'}}",
    ),
    (
        "rate_limited",
        "openai.RateLimitError: Error code: 429 - {'error': {'message': 'Rate limit reached for gpt-4o'}}",
    ),
    (
        "model",
        r#"404 {"type":"error","error":{"type":"not_found_error","message":"model: claude-2.9"}}"#,
    ),
    ("not_found", "FileNotFoundError: [Errno 2] No such file or directory: 'rows.csv'"),
    ("not_found", "ResourceNotFoundError: The resource does not exist"),
    (
        "unauthorized",
        "UnrecognizedClientException: The security token included in the request is invalid.",
    ),
    ("upstream", "FATAL: sorry, too many clients already"),
    ("upstream", "FATAL: the database system is starting up"),
    ("model", "No object generated: response did not match schema."),
    ("model", "The model produced invalid output: expected JSON"),
    ("model", "Could not parse the model's response as JSON"),
    ("model", "Failed to parse model output as JSON: Unexpected token < in JSON at position 0"),
    ("model", "Error parsing LLM response: Expecting value: line 1 column 1 (char 0)"),
    ("model", "The model's response is not valid JSON"),
    ("model", "Model response could not be parsed"),
    ("model", "LLM output was malformed"),
    ("model", "Invalid JSON in model response"),
    ("model", "The assistant’s reply did not match the expected schema"),
    ("model", "gpt-4o returned invalid JSON: SyntaxError: Unexpected end of JSON input"),
    ("model", "Unparseable model output"),
    ("model", "Unable to parse JSON from the AI's answer"),
    ("model", "Empty completion from the LLM"),
    ("model", "Malformed response from claude-sonnet-4: message is not JSON"),
    ("model", "Failed to parse tool call arguments as JSON"),
    ("model", "OutputParserException: Could not parse LLM output: `I am sorry`"),
    ("rate_limited", "error code: 1015"),
    ("rate_limited", "HTTP 420"),
    ("invalid_input", "The capacity field must be a number"),
    ("not_found", "Email template 'safety-notice' not found"),
    ("invalid_input", "network must be one of a, b"),
    ("invalid_input", "disconnected must be a boolean"),
    // Validation and data
    (
        "invalid_input",
        "ZodError: [{\"code\":\"invalid_type\",\"expected\":\"string\",\"received\":\"undefined\",\"path\":[\"email\"],\"message\":\"Required\"}]",
    ),
    (
        "invalid_input",
        "1 validation error for Order\namount\n  Input should be a valid number [type=float_type]",
    ),
    ("invalid_input", "data/email must match format \"email\""),
    ("invalid_input", "The field 'email' is required"),
    ("invalid_input", "413 Request Entity Too Large"),
    ("invalid_input", "Could not parse the date '31.02.2026'"),
    ("invalid_input", "The attachment cannot be parsed"),
    ("invalid_input", "Failed to parse response as JSON"),
    ("invalid_input", "invalid value for 'model year'; expected a number"),
    ("invalid_input", "Could not parse the aid response"),
    ("rate_limited", "Invalid response from model API: 429 Too Many Requests"),
    ("invalid_input", "Invalid message: the field 'model' must not be empty"),
    ("invalid_input", "null value in column \"email\" violates not-null constraint"),
    ("invalid_input", "duplicate key value violates unique constraint \"users_pkey\""),
    ("unauthorized", "password authentication failed for user \"app\""),
    ("not_found", "relation \"orders\" does not exist"),
    ("not_found", "ENOENT: no such file or directory, open '/tmp/report.csv'"),
    ("not_found", "No record found with id 4711"),
    ("unauthorized", "invalid_grant: Token has been expired or revoked."),
    ("unauthorized", "jwt expired"),
    ("timeout", "Step exceeded the maximum execution time of 300 seconds"),
    ("timeout", "canceling statement due to statement timeout"),
    ("quota", "You have reached your monthly limit"),
    // Nothing to go by.
    ("other", "Something went wrong"),
    ("other", "Unknown error"),
    ("other", "Order 500 could not be completed"),
    ("other", "a refund of 429 dollars"),
    ("other", "it took 500 ms for 404 rows"),
    // Letters beyond ASCII.
    ("timeout", "Délai dépassé : timeout de 30 s"),
    ("network", "Verbindung zurückgesetzt: ECONNRESET über Proxy"),
    ("invalid_input", "Couldn’t parse the address “Straße 1”"),
    ("other", "エラーが発生しました"),
    ("none", ""),
    ("none", " \n"),
];

#[test]
fn errors_go_where_an_operator_expects_them() {
    let classes = ErrorClasses::default();
    let wrong: Vec<_> = TEXTS
        .iter()
        .map(|(class, text)| (*class, classes.classify(text), *text))
        .filter(|(expected, class, _)| class.as_str() != *expected)
        .collect();
    assert!(wrong.is_empty(), "expected, got, text: {wrong:#?}");
    let others = TEXTS.iter().filter(|(class, _)| *class == "other").count();
    assert!(TEXTS.len() > 130 && others * 10 < TEXTS.len());
    for class in ERROR_CLASSES {
        assert!(TEXTS.iter().any(|(expected, _)| *expected == class), "no text for {class}");
    }
    assert!(TABLE.iter().all(|(class, _)| ERROR_CLASSES.contains(class)));
}

#[test]
fn a_teams_own_classes_come_first_and_in_their_order() {
    let own = [("warehouse", "wms-\\d+"), ("crm", "salesforce|wms-1"), ("timeout", "gave up")];
    let own =
        own.map(|(name, pattern)| OwnErrorClass { name: name.into(), pattern: pattern.into() });
    let classes = ErrorClasses::new(own.to_vec()).expect("they are right");
    for (text, class) in [
        ("WMS-17: timeout", "warehouse"),
        ("SalesForce said 429 Too Many Requests", "crm"),
        ("it gave up", "timeout"),
        ("ECONNRESET", "network"),
    ] {
        assert_eq!(classes.classify(text).as_str(), class, "{text}");
    }
    let wrong = vec![OwnErrorClass { name: "wrong".into(), pattern: "(".into() }];
    assert!(ErrorClasses::new(wrong).is_err());
}

#[test]
fn of_a_long_text_the_beginning_and_the_end_are_looked_at() {
    let filling = "ü ".repeat(1_000_000);
    let classes = ErrorClasses::default();
    assert_eq!(classes.classify(&format!("ECONNRESET {filling}")).as_str(), "network");
    assert_eq!(classes.classify(&format!("{filling} KeyError: 'a'")).as_str(), "code");
    assert_eq!(classes.classify(&format!("{filling} ECONNRESET {filling}")).as_str(), OTHER);
}
