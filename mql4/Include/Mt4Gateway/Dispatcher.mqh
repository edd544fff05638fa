// One request in, one reply out: the decision of docs/protocol.md, in its order.
#ifndef MT4GATEWAY_DISPATCHER_MQH
#define MT4GATEWAY_DISPATCHER_MQH

#include <Mt4Gateway/Clock.mqh>
#include <Mt4Gateway/Ledger.mqh>
#include <Mt4Gateway/Log.mqh>
#include <Mt4Gateway/Orders.mqh>
#include <Mt4Gateway/Protocol.mqh>
#include <Mt4Gateway/Queries.mqh>

#define PROGRAM_VERSION "0.1.0"

enum ENUM_PLAIN_CLIENTS
  {
   PLAIN_OFF,     // off: clients of the existing server get nothing
   PLAIN_READ,    // read: they may read
   PLAIN_TRADE    // trade: they may trade, and no gateway may
  };

struct DispatcherOptions
  {
   ENUM_PLAIN_CLIENTS plain_clients;
   int               max_wait_ms;     // for history that is not loaded
   string            program;         // its name, for HELLO
   string            tick_variable;   // the global variable that holds the port of the ticks; empty: none has one
   TradeLimits       limits;
   LedgerOptions     ledger;

   void              Copy(const DispatcherOptions &from);
  };

void DispatcherOptions::Copy(const DispatcherOptions &from)
  {
   plain_clients = from.plain_clients;
   max_wait_ms = from.max_wait_ms;
   program = from.program;
   tick_variable = from.tick_variable;
   limits.allow_trading = from.limits.allow_trading;
   limits.max_lots_per_order = from.limits.max_lots_per_order;
   limits.max_open_orders = from.limits.max_open_orders;
   limits.max_open_lots = from.limits.max_open_lots;
   limits.symbols = from.limits.symbols;
   ledger = from.ledger;
  }

bool IsBridgeRead(string action)
  {
   return(action == "HELLO" || action == "PING" || action == "GET_SERVER_TIME" || action == "GET_TERMINAL_INFO" ||
          action == "SUBSCRIBE_TICKS" || action == "UNSUBSCRIBE_TICKS");
  }

// Read back the members that were written as the reply.
bool ReadBack(const JsonWriter &members, JsonReader &reader)
  {
   JsonWriter object;
   object.BeginObject();
   object.Members(members.bytes, 0, members.length);
   object.EndObject();
   return(reader.Parse(object.bytes, 0, object.length));
  }

// The error code in a reply, -1 if there is none.
int CodeIn(const JsonWriter &members)
  {
   JsonReader reader;
   int code = ReadBack(members, reader) ? reader.Find(0, "error_code") : -1;
   return(code >= 0 && reader.Kind(code) == JSON_INTEGER ? (int)reader.Integer(code) : -1);
  }

// One line of DO_CLOSE_ALL: the code and the message of an error reply.
void WriteCloseError(const JsonWriter &answer, JsonWriter &line)
  {
   JsonReader reader;
   int message = ReadBack(answer, reader) ? reader.Find(0, "error_message") : -1;
   line.AddInteger("error_code", MathMax(CodeIn(answer), 0));
   line.AddText("error_message", message >= 0 ? reader.Text(message) : "");
  }

class Dispatcher
  {
private:
   DispatcherOptions options;
   Ledger            ledger;
   Request           request;
   BridgeKeys        keys;
   TradeCall         trade;
   CloseFilter       filter;
   BrokerClock       broker_clock;
   JsonWriter        body;            // the reply without the bridge's keys
   string            session;
   long              last_seq;
   string            action;
   ENUM_STATE        state;
   string            fence;
   int               evidence[];      // tickets
   bool              is_replayed;
   bool              is_plain;        // from a client of the existing server: no ids, no ledger
   long              waiting_since_ms;
   bool              is_waiting;
   long              ledger_tried_ms;

   void              Begin();
   void              Decide();
   void              DecideFrame();
   bool              PassesGates();
   bool              RecallsEntry();
   void              Fence(string reason, string message);
   void              Answer(ENUM_STATE with) { state = with; }
   void              AnswerStored(const LedgerEntry &entry);
   void              LookForOrder(const LedgerEntry &entry);
   void              DoubtAgain(const LedgerEntry &entry);
   bool              Distrusts();
   bool              SealsIfLate();
   void              Execute();
   bool              IsPermitted();
   bool              IsConnectedNow();
   void              Finish(ENUM_STATE with);
   ENUM_STATE        CloseAll();
   ENUM_STATE        CloseOne(int ticket, JsonWriter &item);
   void              AnswerPlain(bool is_trade);
   void              AnswerPlainTrade();
   void              AnswerRead();
   bool              AnswerBridgeRead();
   void              Hello();
   void              Claim();
   void              WriteServerTime();
   void              WriteTerminalInfo();
   void              Subscribe(bool is_wanted);
   void              WriteEvidence(JsonWriter &reply);
   void              WriteState(JsonWriter &reply);
   void              WriteEcho(JsonWriter &reply);
   void              WriteReply(bool is_parsed, JsonWriter &reply);
   void              WriteOffset();
   void              OpenLedger();

public:
                     Dispatcher();
   void              Start(const DispatcherOptions &with, string with_session);
   void              Stop() { ledger.Close(); }
   void              OnTimer();
   bool              Handle(const uchar &bytes[], int length, int frames, JsonWriter &reply);
   bool              Resume(JsonWriter &reply);
   bool              IsWaiting() const { return(is_waiting); }
  };

Dispatcher::Dispatcher()
  {
   last_seq = 0;
   waiting_since_ms = 0;
   is_waiting = false;
   ledger_tried_ms = 0;
   Begin();
  }

void Dispatcher::Start(const DispatcherOptions &with, string with_session)
  {
   options.Copy(with);
   session = with_session;
   last_seq = 0;
   is_waiting = false;
   OpenLedger();
  }

void Dispatcher::OpenLedger()
  {
   ledger_tried_ms = ClockMs();
   if(AccountNumber() > 0)
      ledger.Open(AccountNumber(), AccountServer(), options.ledger);
  }

// Watch the broker's clock, and try again for a ledger that was in use or had no account yet.
void Dispatcher::OnTimer()
  {
   broker_clock.Watch();
   bool may_retry = ledger.IsSafe() && (ledger.Login() == 0 || ledger.MayRetry());
   bool is_other_account = ledger.Login() != 0 && AccountNumber() != ledger.Login();
   if((may_retry || is_other_account) && ClockMs() - ledger_tried_ms >= 1000)
      OpenLedger();
  }

void Dispatcher::Begin()
  {
   body.Clear();
   action = "";
   state = STATE_NONE;
   fence = "";
   ArrayFree(evidence);
   is_replayed = false;
   is_plain = false;
  }

// Answer one request of `frames` body frames, the first of which is in `bytes`. False: the answer
// needs history that is being loaded; call Resume at each timer event until it is there.
bool Dispatcher::Handle(const uchar &bytes[], int length, int frames, JsonWriter &reply)
  {
   Begin();
   waiting_since_ms = ClockMs();
   is_waiting = false;
   bool is_parsed = false;
   if(frames != 1)
      Fence("bad_frames", "A request is one frame, this had " + IntegerToString(frames) + ".");
   else if(length == 0)
      WriteMessage(body, "Request was empty.");
   else
     {
      is_parsed = length <= MAX_REQUEST_BYTES && request.json.Parse(bytes, 0, length) && request.IsObject();
      if(is_parsed)
         Decide();
      else
         WriteMessage(body, "Failed to parse request.");
     }
   if(is_waiting)
      return(false);
   WriteReply(is_parsed, reply);
   return(true);
  }

// Ask again for what was not there. True: the reply is written.
bool Dispatcher::Resume(JsonWriter &reply)
  {
   body.Clear();
   is_waiting = false;
   AnswerRead();
   if(is_waiting)
      return(false);
   WriteReply(true, reply);
   return(true);
  }

void Dispatcher::Decide()
  {
   action = request.TextOr("action", "");
   bool is_trade = TradeOfAction(action) != TRADE_NONE;
   bool is_read = IsQuery(action) || IsBridgeRead(action);
   if(action == "")
      WriteMessage(body, "No request action specified.");
   else if(!is_trade && !is_read && action != "RESOLVE")
      WriteMessage(body, "Unrecognized requested action (" + action + ").");
   else if(action == "RESOLVE")
      DecideFrame();
   else if(!IsBridgeRead(action) && !IsFromGateway(request))
      AnswerPlain(is_trade);
   else if(is_trade)
      DecideFrame();
   else
      AnswerRead();
  }

// ---- who may act, and what is known -------------------------------------------------------------

void Dispatcher::Fence(string reason, string message)
  {
   state = STATE_FENCED;
   fence = reason;
   WriteMessage(body, message);
  }

void Dispatcher::DecideFrame()
  {
   if(!keys.Read(request))
     {
      Fence("bad_request", "A key of the bridge is missing or of a wrong type.");
      return;
     }
   if(options.plain_clients == PLAIN_TRADE)
     {
      Fence("plain_clients", "Plain clients may trade here; a gateway may not.");
      return;
     }
   if(!PassesGates() || RecallsEntry() || Distrusts() || SealsIfLate())
      return;
   if(action == "RESOLVE")
      Answer(STATE_NOT_SEEN);
   else
      Execute();
  }

bool Dispatcher::PassesGates()
  {
   if(keys.session != session)
      Fence("stale_session", "The program has been started since.");
   else if(keys.epoch != ledger.Epoch() || keys.epoch == 0)   // 0 is nobody's
      Fence("stale_epoch", "The epoch is " + IntegerToString(ledger.Epoch()) + ".");
   else if(keys.seq <= last_seq)
      Fence("stale_seq", "Frame " + IntegerToString(last_seq) + " has been seen.");
   if(state == STATE_FENCED)
      return(false);
   last_seq = keys.seq;
   if(keys.ledger != ledger.Uid())
     {
      WriteMessage(body, "This terminal has another ledger.");
      Answer(STATE_IN_DOUBT);
     }
   else
      ledger.LearnJournal(keys.journal);   // from a gateway that may act here
   return(state == STATE_NONE);
  }

// True: the ledger knows this command, and that is the answer.
bool Dispatcher::RecallsEntry()
  {
   LedgerEntry entry;
   if(!ledger.Find(keys.id, entry))
      return(false);
   if(entry.digest != keys.digest)
      Fence("id_conflict", "The id belongs to another command.");
   else if(entry.state == STATE_STARTED || entry.state == STATE_IN_DOUBT)
      LookForOrder(entry);
   else if(entry.state != STATE_NOT_NOW)
      AnswerStored(entry);
   else if(action != "RESOLVE" && keys.attempt <= entry.attempt)
      Fence("stale_attempt", "Attempt " + IntegerToString(entry.attempt) + " has ended.");
   else if(action == "RESOLVE" && !ledger.IsSafe() && ClockMs() <= keys.not_after)
      AnswerStored(entry);
   return(state != STATE_NONE);
  }

void Dispatcher::AnswerStored(const LedgerEntry &entry)
  {
   is_replayed = true;
   if(entry.state != STATE_SEALED && !ledger.AddReply(entry, body))
     {
      WriteMessage(body, "The stored reply cannot be read.");
      Answer(STATE_IN_DOUBT);
     }
   else
      Answer(entry.state);
  }

// A crash or a doubtful code: the order's comment tells whether it ran. Two orders with one token
// are evidence, never an answer.
void Dispatcher::LookForOrder(const LedgerEntry &entry)
  {
   is_replayed = true;
   keys.attempt = entry.attempt;
   if(FindByToken(entry.token, evidence) == 1 && WriteOrder(evidence[0], body))
     {
      ledger.Finish(keys, STATE_DONE, body);
      Answer(STATE_DONE);
      return;
     }
   DoubtAgain(entry);
  }

void Dispatcher::DoubtAgain(const LedgerEntry &entry)
  {
   string found = ArraySize(evidence) > 0 ? "several orders have its token." : "no order was found.";
   Answer(STATE_IN_DOUBT);
   if(entry.action == "DO_CLOSE_ALL")
      ledger.TicketsBelow(entry.id, evidence);
   if(entry.state == STATE_IN_DOUBT)
     {
      if(!ledger.AddReply(entry, body))
         WriteMessage(body, "The stored reply cannot be read.");
      return;
     }
   WriteMessage(body, "The terminal stopped between intent and result; " + found);
   ledger.Finish(keys, STATE_IN_DOUBT, body);
  }

bool Dispatcher::Distrusts()
  {
   if(!ledger.IsSafe())
      return(false);
   string message = "The ledger cannot be trusted: " + ledger.Reason() + ".";
   if(action != "RESOLVE")
     {
      Fence("safe_mode", message);
      return(true);
     }
   WriteMessage(body, message);
   Answer(STATE_IN_DOUBT);
   return(true);
  }

bool Dispatcher::SealsIfLate()
  {
   if(ClockMs() <= keys.not_after)
      return(false);
   if(!ledger.Finish(keys, STATE_SEALED, body))
      return(Distrusts());
   Answer(STATE_SEALED);
   return(true);
  }

// ---- the trade ----------------------------------------------------------------------------------

// The only place from which a gateway's trade call is made, with the intent in the file.
void Dispatcher::Execute()
  {
   if(!IsPermitted())
     {
      Finish(STATE_REJECTED);
      return;
     }
   if(!IsConnectedNow())
     {
      Finish(STATE_NOT_NOW);
      return;
     }
   string comment = trade.Comment();
   string token = IsToken(comment) ? StringSubstr(comment, 0, TOKEN_LENGTH) : "";
   if(!ledger.Start(keys, action, token))
     {
      Distrusts();
      return;
     }
   if(SealsIfLate())
      return;
   if(TradeOfAction(action) == TRADE_CLOSE_ALL)
      Finish(CloseAll());
   else
      Finish(trade.Execute(body));
  }

// Trade permission, then parameters and limits. False: refused for good.
bool Dispatcher::IsPermitted()
  {
   trade.Reset();
   if(!options.limits.allow_trading)
     {
      WriteMessage(body, "The input AllowTrading is off.");
      return(false);
     }
   if(!MayTrade())
     {
      WriteCodeAndMessage(body, CODE_TRADE_NOT_ALLOWED, "Experts may not trade.");
      return(false);
     }
   ENUM_TRADE kind = TradeOfAction(action);
   if(kind == TRADE_CLOSE_ALL)
      return(filter.Read(request, body));
   return(trade.Read(kind, request, options.limits, !is_plain, body));
  }

bool Dispatcher::IsConnectedNow()
  {
   if(!IsConnected())
      WriteCodeAndMessage(body, CODE_NO_CONNECTION, "The terminal has no connection.");
   else if(IsTradeContextBusy())
      WriteCodeAndMessage(body, CODE_CONTEXT_BUSY, "Another program is trading.");
   return(body.length == 0);
  }

void Dispatcher::Finish(ENUM_STATE with)
  {
   if(!ledger.Finish(keys, with, body))
      LogError("result_not_stored id=" + keys.id + " state=" + StateName(with));
   Answer(with);
   LogInfo("command_finished id=" + keys.id + " action=" + action + " attempt=" + IntegerToString(keys.attempt) + " state=" + StateName(with));
  }

// Close what fits, one after the other, each under a line of its own in the ledger. A ticket of
// unknown fate puts the whole command in doubt; the others are tried all the same.
ENUM_STATE Dispatcher::CloseAll()
  {
   int tickets[];
   ENUM_STATE result = STATE_DONE;
   int count = filter.Choose(tickets);
   body.Key("response");
   body.BeginArray();
   for(int i = 0; i < count; i++)
      if(CloseOne(tickets[i], body) == STATE_IN_DOUBT)
        {
         result = STATE_IN_DOUBT;
         int known = ArraySize(evidence);
         ArrayResize(evidence, known + 1);
         evidence[known] = tickets[i];
        }
   body.EndArray();
   return(result);
  }

// Nothing starts after the deadline, nor without its line in the ledger.
ENUM_STATE Dispatcher::CloseOne(int ticket, JsonWriter &list)
  {
   BridgeKeys part;
   JsonWriter answer;
   part.id = keys.id + "#" + IntegerToString(ticket);
   part.attempt = keys.attempt;
   part.digest = keys.digest;
   ENUM_STATE result = STATE_NOT_NOW;
   if(!is_plain && ClockMs() > keys.not_after)
      WriteCodeAndMessage(answer, CODE_NO_ERROR, "The deadline has passed.");
   else if(!is_plain && !ledger.Start(part, action, ""))
      WriteCodeAndMessage(answer, CODE_NO_ERROR, "The ledger failed: " + ledger.Reason() + ".");
   else if(!SelectTicket(ticket))
      WriteCodeAndMessage(answer, GetLastError(), "Order # " + IntegerToString(ticket) + " not found.");
   else
     {
      result = CloseOrder(ticket, OrderLots(), 0.0, -1, answer);
      if(!is_plain && !ledger.Finish(part, result, answer))
         LogError("result_not_stored id=" + part.id);
     }
   list.BeginObject();
   list.AddInteger("ticket", ticket);
   list.AddBoolean("closed", result == STATE_DONE);
   if(result != STATE_DONE)
      WriteCloseError(answer, list);
   list.EndObject();
   return(result);
  }

// ---- plain clients ------------------------------------------------------------------------------

void Dispatcher::AnswerPlain(bool is_trade)
  {
   ENUM_PLAIN_CLIENTS needed = is_trade ? PLAIN_TRADE : PLAIN_READ;
   is_plain = true;
   if((int)options.plain_clients < (int)needed)
      Fence("plain_clients", "The input PlainClients does not let plain clients do this.");
   else if(is_trade)
      AnswerPlainTrade();
   else
      AnswerRead();
  }

// The same checks and calls, without a ledger: these clients have no ids.
void Dispatcher::AnswerPlainTrade()
  {
   if(!IsPermitted() || !IsConnectedNow())
      return;
   ENUM_STATE result = TradeOfAction(action) == TRADE_CLOSE_ALL ? CloseAll() : trade.Execute(body);
   LogInfo("plain_trade action=" + action + " state=" + StateName(result));
  }

// ---- reads --------------------------------------------------------------------------------------

void Dispatcher::AnswerRead()
  {
   if(AnswerBridgeRead() || AnswerQuery(action, request, body) != ANSWER_PENDING)
      return;
   int timeout = 0;
   JsonWriter unused;
   request.ReadInteger("timeout", timeout, unused);
   is_waiting = ClockMs() - waiting_since_ms < MathMin(timeout, (int)options.max_wait_ms);
   if(is_waiting)
      return;
   body.Clear();
   WriteMessage(body, action == "GET_OHLCV" ? "Timed out waiting for OHLCV data." : "Timed out waiting for indicator data to load.");
  }

bool Dispatcher::AnswerBridgeRead()
  {
   if(action == "HELLO")
      Hello();
   else if(action == "PING")
     {
      body.Key("response");
      body.BeginObject();
      body.AddBoolean("connected", IsConnected());
      body.AddBoolean("trade_allowed", MayTrade());
      body.AddInteger("broker_time", (long)TimeCurrent());
      body.EndObject();
     }
   else if(action == "GET_SERVER_TIME")
      WriteServerTime();
   else if(action == "GET_TERMINAL_INFO")
      WriteTerminalInfo();
   else if(action == "SUBSCRIBE_TICKS" || action == "UNSUBSCRIBE_TICKS")
      Subscribe(action == "SUBSCRIBE_TICKS");
   return(IsBridgeRead(action));
  }

void Dispatcher::Hello()
  {
   bool is_claim = false;
   if(!request.ReadBoolean("claim", is_claim, body))
      return;
   if(is_claim)
      Claim();
   if(body.length > 0)
      return;
   body.Key("response");
   body.BeginObject();
   body.AddText("dialect", "bridge");
   body.AddInteger("protocol", PROTOCOL_VERSION);
   body.AddText("program", options.program);
   body.AddText("version", PROGRAM_VERSION);
   body.AddText("session", session);
   body.AddText("ledger", ledger.Uid());
   body.AddInteger("epoch", ledger.Epoch());
   body.AddInteger("journal", ledger.Journal());
   body.Key("account");
   WriteAccount(body);
   body.Key("tick_endpoint");
   if(options.tick_variable != "" && GlobalVariableCheck(options.tick_variable))
      body.Text("tcp://*:" + DoubleToString(GlobalVariableGet(options.tick_variable), 0));
   else
      body.Null();
   WriteOffset();
   body.AddBoolean("connected", IsConnected());
   body.AddBoolean("trade_allowed", MayTrade());
   body.EndObject();
  }

// The gateway that takes over gets a new epoch; every other one's frames are fenced from now on.
void Dispatcher::Claim()
  {
   long sequence = 0;
   if(!ReadJournal(request, sequence))
     {
      Fence("bad_request", "Param \"journal\" is not an integer from 0 to " + IntegerToString(MAX_JOURNAL) + ".");
      return;
     }
   if(options.plain_clients == PLAIN_TRADE)
     {
      Fence("plain_clients", "Plain clients may trade here; a gateway may not take over.");
      return;
     }
   ledger.LearnJournal(sequence);
   if(!ledger.ClaimEpoch())
      LogWarning("epoch_not_stored epoch=" + IntegerToString(ledger.Epoch()) + " reason=\"" + ledger.Reason() + "\"");
   last_seq = 0;
   LogInfo("epoch_claimed epoch=" + IntegerToString(ledger.Epoch()) + " gateway=" + request.TextOr("gateway", "?"));
  }

void Dispatcher::WriteOffset()
  {
   body.Key("broker_offset_s");
   if(broker_clock.IsKnown())
      body.Integer(broker_clock.OffsetS());
   else
      body.Null();
  }

void Dispatcher::WriteServerTime()
  {
   body.Key("response");
   body.BeginObject();
   body.AddInteger("broker_time", (long)TimeCurrent());
   body.AddInteger("utc_time", (long)TimeGMT());
   WriteOffset();
   body.EndObject();
  }

void Dispatcher::WriteTerminalInfo()
  {
   body.Key("response");
   body.BeginObject();
   body.AddText("name", TerminalInfoString(TERMINAL_NAME));
   body.AddText("company", TerminalInfoString(TERMINAL_COMPANY));
   body.AddInteger("build", TerminalInfoInteger(TERMINAL_BUILD));
   body.AddText("path", TerminalInfoString(TERMINAL_PATH));
   body.AddBoolean("connected", IsConnected());
   body.AddBoolean("trade_allowed", MayTrade());
   body.AddBoolean("dlls_allowed", IsDllsAllowed());
   body.Key("ping_ms");
   body.Null();   // TERMINAL_PING_LAST is unknown to the compilers of 2015
   body.EndObject();
  }

// Ticks are published for what stands in the Market Watch, so that is what is changed.
void Dispatcher::Subscribe(bool is_wanted)
  {
   string names[];
   if(!request.ReadNames("symbols", names, body))
      return;
   for(int i = 0; i < ArraySize(names); i++)
     {
      if(is_wanted && !SelectSymbol(names[i], body))
         return;
      if(!is_wanted && !SymbolSelect(names[i], false))
         LogWarning("symbol_not_hidden symbol=" + names[i] + " code=" + IntegerToString(GetLastError()));
     }
   body.Key("response");
   body.BeginObject();
   body.Key("symbols");
   body.BeginArray();
   for(int i = 0; i < SymbolsTotal(true); i++)
      body.Text(SymbolName(i, true));
   body.EndArray();
   body.EndObject();
  }

// ---- the reply ----------------------------------------------------------------------------------

void Dispatcher::WriteEvidence(JsonWriter &reply)
  {
   reply.Key("evidence");
   reply.BeginObject();
   reply.Key("tickets");
   reply.BeginArray();
   for(int i = 0; i < ArraySize(evidence); i++)
      reply.Integer(evidence[i]);
   reply.EndArray();
   int code = CodeIn(body);
   if(code >= 0)
      reply.AddInteger("code", code);
   reply.EndObject();
  }

void Dispatcher::WriteState(JsonWriter &reply)
  {
   if(state == STATE_NONE)
      return;
   reply.AddText("state", StateName(state));
   if(state == STATE_FENCED)
     {
      reply.AddText("reason", fence);
      return;
     }
   if(state == STATE_IN_DOUBT)
      WriteEvidence(reply);
   reply.AddBoolean("replayed", is_replayed);
  }

// The request's id and attempt, as far as they can be used.
void Dispatcher::WriteEcho(JsonWriter &reply)
  {
   string id = request.TextOr("id", "");
   int attempt = 0;
   if(IsCommandId(id))
      reply.AddText("id", id);
   if(ReadAttempt(request, attempt))
      reply.AddInteger("attempt", attempt);
  }

void Dispatcher::WriteReply(bool is_parsed, JsonWriter &reply)
  {
   reply.Clear();
   reply.BeginObject();
   reply.Members(body.bytes, 0, body.length);
   if(is_parsed)
      WriteEcho(reply);
   reply.AddText("session", session);
   reply.AddInteger("clock_ms", ClockMs());
   WriteState(reply);
   reply.EndObject();
   if(reply.length <= MAX_REPLY_BYTES)
      return;
   body.Clear();
   WriteMessage(body, "The reply would have " + IntegerToString(reply.length) + " bytes, the limit is " + IntegerToString(MAX_REPLY_BYTES) + ".");
   WriteReply(is_parsed, reply);
  }

#endif
