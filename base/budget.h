#ifndef LEAPSTREAM_BASE_BUDGET_H_
#define LEAPSTREAM_BASE_BUDGET_H_

#include <cstddef>
#include <cstdint>

#include "absl/time/time.h"

// The most that one client, call or turn may cost, in bytes and rows and not in tokens alone. Every
// bound that is no setting stands here, and nowhere else. docs/operating.md, "Budgets", has the
// same list with the test that holds each bound.
namespace leapstream::budget {

// The rows of one turn of the step thread: source tokens that are read, and target tokens that are
// replayed. When they are used up, each further session of the turn still has one row.
inline constexpr int kRowsPerTurn = 64;
// The sessions of one turn of the step thread.
inline constexpr size_t kSessionsPerTurn = 256;

// The rows of beam searches of one turn. One search per turn may always run its rows, however many
// they are.
inline constexpr size_t kBeamRowsPerTurn = 64;

// The rows of drafts that are verified in one turn. One draft per turn may always be, however many
// rows it has.
inline constexpr size_t kDraftRowsPerTurn = 64;

// The work of one turn beside the model's, and the share of it that one session may have. A unit is
// about the time to scan a byte of text; 64 K units are about a millisecond. When the units are
// used up, the sessions that have not been looked at yet are the first ones of the next turn.
inline constexpr int64_t kWorkPerTurn = 64 << 10;
inline constexpr int64_t kWorkPerSession = 16 << 10;
inline constexpr int64_t kInputWork = 128;         // An input that is taken from the inbox.
inline constexpr int64_t kIdsPerWork = 4;          // Source token ids that one unit checks.
inline constexpr int64_t kPieceWork = 8;           // A source piece that is looked up.
inline constexpr int64_t kEncodedByteWork = 8;     // A byte that is tokenised.
inline constexpr int64_t kEmptyWordWork = 1024;    // A word without pieces; it takes no row.
inline constexpr int64_t kResampledWork = 4;       // A sample at another rate than the model's.
inline constexpr int64_t kSegmentWork = 2048;      // A segment that is completed.

// The length of a word of source. A longer word is cut, so that there is a bound on the memory and
// the time that one word takes.
inline constexpr size_t kWordBytes = 1024;
// The earlier words that one word is tokenised with, where its tokens depend on them.
inline constexpr size_t kContextWords = 16;

// Encoder rows of one turn, for models that encode all of the source anew after each READ. One
// session per turn may always run its rows, however many they are.
inline constexpr int64_t kEncoderRowsPerTurn = 512;

// The length of a typical segment, in source tokens; its target has as many. The memory for states
// (max_state_bytes) is planned for states of this length, and a session keeps a state of this
// length between its segments. A larger state is given back.
inline constexpr int64_t kTypicalSegmentTokens = 500;

// One session's inbox: an input counts as so many bytes besides its content.
inline constexpr int64_t kInputBytes = 64;
// The most inputs that a session may have queued, whatever their size: to receive an input takes
// longer than to store it. A live speaker has only a few.
inline constexpr size_t kQueuedInputs = 128;

// The headers of a call, as HPACK counts them: each header has 32 bytes more than its name and its
// value.
inline constexpr int kHeaderBytes = 128 << 10;

// The bytes that gRPC may hold for all connections together: the largest of a share of the free
// memory (1 / kBufferShare), kLeastBufferBytes, and kBufferBytesPerSession for each of
// max_sessions.
inline constexpr int64_t kBufferShare = 8;
inline constexpr int64_t kLeastBufferBytes = 64 << 20;
inline constexpr int64_t kBufferBytesPerSession = 128 << 10;

// Calls that came while a limit was reached, but may turn out to resume a session that is open
// here; then they take its place. There are so many of them at once, and each has so long to send
// its first message.
inline constexpr int kUndecidedCalls = 64;
inline constexpr absl::Duration kUndecidedTime = absl::Seconds(1);

// Calls of Tokenize at once, which need no session: one thread serves them.
inline constexpr int kTokenizeCalls = 64;

// A text that a language model goes on with or scores, and the texts of one call of Score or
// Tokenize. The tokens of a generation that asks for no other number, and the most of one.
inline constexpr size_t kPromptBytes = 512 << 10;
inline constexpr int kScoredTexts = 4096;
// The bytes that a request may have beside the state of a text.
inline constexpr int64_t kBesideStateBytes = 64 << 10;
inline constexpr int kGeneratedTokens = 256;
inline constexpr int kMostGeneratedTokens = 1 << 16;

// A glossary: its terms, the bytes of all of them and of one side of one. The tokens with which a
// model is asked for its own word for a term, and the words that may be its own.
inline constexpr size_t kGlossaryTerms = 1000;
inline constexpr size_t kGlossaryBytes = 64 << 10;
inline constexpr size_t kTermBytes = 256;
inline constexpr size_t kTermTokens = 12;
inline constexpr size_t kOwnWords = 16;
// The terms of one segment's source, as many pieces of mark-up, and the bytes of that. Those after
// them are not looked for.
inline constexpr int kTermsPerSegment = 256;
inline constexpr size_t kMarkupBytes = 16 << 10;
// The memory of a glossary, for each of its bytes and each of its terms, and the work of looking
// for terms: a unit for so many places at which one may end.
inline constexpr int64_t kBytesPerTermByte = 8;
inline constexpr int64_t kBytesPerTerm = 256;
inline constexpr int64_t kTermLookupsPerWork = 1;

// Accounting: the principals whose use has metrics of its own, while that of all others is counted
// together; the principals whose use is known, and the streams whose source is known to be counted.
inline constexpr size_t kPrincipalsInMetrics = 256;
inline constexpr size_t kAccounts = 4096;
inline constexpr size_t kCountedStreams = 4096;
// Quotas are in characters. A second of audio is so many, about what is spoken in it.
inline constexpr int64_t kCharactersPerAudioSecond = 15;

// A call of Translate: the lines of its text, and the bytes of the translation. gRPC's clients take
// a message of 4 MiB unless they are told otherwise; 1 KiB of it is for the other fields.
inline constexpr int64_t kTranslateLines = 1 << 16;
inline constexpr size_t kTranslationBytes = (4 << 20) - 1024;

// The bytes of the texts of all calls together: a share of the free memory (1 / kTextShare), but
// not less than kLeastTextBytes.
//
// A Translate holds its text, the translation, and the message that the translation becomes. It
// counts as kBytesPerTextByte times its request from the start, and as more when the texts grow
// beyond that. A config may have the tokens of a resume. Each of its bytes may become four bytes in
// memory, and eight while it is read.
inline constexpr int64_t kTextShare = 8;
inline constexpr int64_t kLeastTextBytes = 16 << 20;
inline constexpr int64_t kBytesPerTextByte = 3;
inline constexpr int64_t kBytesPerConfigByte = 8;

// The log: the lines that nobody has read yet, one line, and one field or one line of gRPC itself.
inline constexpr size_t kLogBytes = 256 << 10;
inline constexpr size_t kLogLineBytes = 16 << 10;
inline constexpr size_t kLogValueBytes = 200;

// The addresses of one name that a client connects to.
inline constexpr size_t kAddressesPerName = 64;

// The most descriptors that the process asks for, whatever its hard limit is.
inline constexpr int kMaxDescriptors = 1 << 20;
// One fourth of the descriptors, but not less and not more than these numbers, is kept from the
// connections to the gRPC port. The HTTP port may have half of that reserve. The connections to the
// admin port leave its last fourth free, for files that are read again.
inline constexpr int kLeastReservedDescriptors = 16;
inline constexpr int kMostReservedDescriptors = 64;
inline constexpr int kServerDescriptors = 8;  // Those that gRPC and the ports themselves take.

// The threads of a gRPC port for calls that need one each: the calls of administrators, and calls
// of reflection, which anybody may make and hold open.
inline constexpr int kCallThreads = 64;
// A connection that has had no call for so long is closed.
inline constexpr absl::Duration kIdleConnection = absl::Minutes(5);

// The time that a connection to a gRPC port has for its TLS and HTTP/2 handshakes.
inline constexpr int kHandshakeMilliseconds = 20000;
// The streams that one HTTP/2 connection may have beyond max_sessions, for calls that are no
// sessions: a proxy may have one connection for all of its clients.
inline constexpr int kStreamsBesideSessions = 1000;

// The HTTP port: the time that a connection has for its request and the answer, and the bytes of a
// request's head.
inline constexpr int kHttpMilliseconds = 5000;
inline constexpr size_t kHttpHeadBytes = 8 << 10;

// The gateway, HTTP for everybody without gRPC (client/gateway). The time in which a request's head
// must come, also the first one of a connection and the next one; the time for its body, and for a
// message of a WebSocket; the bytes of a head.
inline constexpr int kGatewayHeadMilliseconds = 30000;
inline constexpr int kGatewayBodyMilliseconds = 30000;
inline constexpr size_t kGatewayHeadBytes = 16 << 10;
// The bytes of bodies and messages that are not complete, of all connections together. Of each
// connection the first kGatewayFreeBytes do not count.
inline constexpr size_t kGatewayHeldBytes = 64 << 20;
inline constexpr size_t kGatewayFreeBytes = 16 << 10;
// The answers of one stream that wait for its client. Beyond it nothing more is read from the call.
inline constexpr size_t kGatewayUnsentBytes = 16 << 10;
inline constexpr int kGatewaySendBuffer = 64 << 10;  // Of a socket; Linux doubles it.
// Captions: those of one session, and of all; beyond it the oldest are forgotten. Sessions and
// viewers at once. The time for which captions can be read after their session has ended.
inline constexpr size_t kCaptionBytes = 8 << 20;
inline constexpr size_t kAllCaptionBytes = 64 << 20;
inline constexpr size_t kCaptionedSessions = 1000;
inline constexpr int kCaptionViewers = 1000;
inline constexpr absl::Duration kCaptionsKept = absl::Minutes(10);

// Freed memory that the process keeps for its next needs.
inline constexpr size_t kIdleHeapBytes = 32 << 20;

}  // namespace leapstream::budget

#endif  // LEAPSTREAM_BASE_BUDGET_H_
