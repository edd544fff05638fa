// The market data: a publishing socket for ticks, heartbeats, order and account events.
//
// An expert of its own, on a chart of its own, because each expert has its own thread: a slow
// OrderSend in GatewayCommands never holds back a tick. Ticks of the chart's symbol are events;
// those of the other symbols in the Market Watch are sampled by the timer, and say so.
#property copyright "the mt4-gateway authors"
#property version   "1.00"
#property description "Publishes ticks, heartbeats and order events for mt4-gateway over ZeroMQ. Never trades."
#property strict

#include <Mt4Gateway/Clock.mqh>
#include <Mt4Gateway/Events.mqh>
#include <Mt4Gateway/Log.mqh>
#include <Mt4Gateway/MsgPack.mqh>
#include <Mt4Gateway/Ticks.mqh>
#include <Mt4Gateway/Zmq.mqh>

input string Endpoint = "tcp://127.0.0.1:28283";  // Where ticks are published; tcp://*:28283 for other computers
input bool   ConnectsOut = false;                 // Connect to Endpoint (a gateway that binds) instead of binding
input int    TimerMs = 20;                        // How often the other symbols are looked at
input int    HighWaterMark = 100000;              // Messages kept for a slow reader; at least 10000
input string CurveSecretKey = "";                 // Our secret key, 40 characters; empty: no encryption
input string CurvePublicKey = "";                 // Our public key; with ConnectsOut only
input string CurveServerKey = "";                 // The gateway's public key; with ConnectsOut only

#define HEARTBEAT_MS 1000
#define SYMBOLS_MS 1000
#define ORDERS_MS 50
#define BIND_RETRY_MS 1000

ZmqSocket     publisher;
MsgPackWriter packed;
MsgPackWriter account_before;
BrokerClock   broker_clock;
OrderWatch    order_watch;
SymbolTicks   watched[];
int           watched_count = 0;
string        chart_symbol = "";
long          bind_tried_ms = 0;
long          heartbeat_at_ms = 0;
long          symbols_at_ms = 0;
long          orders_at_ms = 0;
long          dropped_count = 0;
bool          was_connected = false;

int OnInit()
  {
   if(HighWaterMark < 10000 || TimerMs < 1 || !AreCurveKeysGood(CurveSecretKey, CurvePublicKey, CurveServerKey, ConnectsOut))
     {
      LogError("bad_inputs reason=\"HighWaterMark is below 10000, TimerMs below 1, or the Curve keys have not 40 characters each (with ConnectsOut all three, else CurveSecretKey alone)\"");
      return(INIT_PARAMETERS_INCORRECT);
     }
   chart_symbol = Symbol();
   watched_count = 0;
   was_connected = IsConnected();
   WatchSymbols();
   BindPublisher();
   if(!EventSetMillisecondTimer(TimerMs))
      return(INIT_FAILED);
   return(INIT_SUCCEEDED);
  }

void OnDeinit(const int reason)
  {
   EventKillTimer();
   publisher.Close();
   if(GlobalVariableCheck("Mt4Gateway.tick_port") && !GlobalVariableDel("Mt4Gateway.tick_port"))
      LogWarning("tick_port_not_forgotten code=" + IntegerToString(GetLastError()));
   LogInfo("stopped reason=" + IntegerToString(reason));
  }

void BindPublisher()
  {
   bind_tried_ms = ClockMs();
   bool is_bound = publisher.Open(ZMQ_XPUB) && publisher.Set(ZMQ_SNDHWM, HighWaterMark) && publisher.Set(ZMQ_XPUB_VERBOSE, 1);
   if(is_bound && CurveSecretKey != "")
      is_bound = publisher.SetCurve(CurveSecretKey, CurvePublicKey, CurveServerKey, ConnectsOut);
   is_bound = is_bound && publisher.Attach(Endpoint, ConnectsOut);
   if(!is_bound)
     {
      LogWarning("bind_failed endpoint=" + Endpoint + " errno=" + IntegerToString(zmq_errno()));
      publisher.Close();
      return;
     }
   LogInfo("publishing endpoint=" + Endpoint);
   if(!ConnectsOut && GlobalVariableSet("Mt4Gateway.tick_port", PortOf(Endpoint)) == 0)
      LogWarning("tick_port_not_told code=" + IntegerToString(GetLastError()));
  }

// What stands behind the last colon.
double PortOf(string endpoint)
  {
   int colon = StringFind(endpoint, ":", 6);
   return((double)StringToInteger(StringSubstr(endpoint, colon + 1)));
  }

// ---- events of the terminal ---------------------------------------------------------------------

// A tick of the chart's symbol.
void OnTick()
  {
   broker_clock.Watch();
   int at = FindWatched(chart_symbol, 0);
   if(at >= 0 && publisher.IsOpen())
      PublishIfChanged(at, true);
  }

void OnTimer()
  {
   broker_clock.Watch();
   long now_ms = ClockMs();
   if(!publisher.IsOpen())
     {
      if(now_ms - bind_tried_ms >= BIND_RETRY_MS)
         BindPublisher();
      return;
     }
   if(now_ms - symbols_at_ms >= SYMBOLS_MS)
      WatchSymbols();
   for(int i = 0; i < watched_count; i++)
      if(watched[i].symbol != chart_symbol)
         PublishIfChanged(i, false);
   if(now_ms - orders_at_ms >= ORDERS_MS)
      PublishOrders();
   if(now_ms - heartbeat_at_ms >= HEARTBEAT_MS)
      PublishHeartbeat();
   GreetSubscribers();
  }

// ---- ticks --------------------------------------------------------------------------------------

int FindWatched(string symbol, int guess)
  {
   if(guess < watched_count && watched[guess].symbol == symbol)
      return(guess);
   for(int i = 0; i < watched_count; i++)
      if(watched[i].symbol == symbol)
         return(i);
   return(-1);
  }

// Take in what was added to the Market Watch. What was removed stays, silent, with its number.
void WatchSymbols()
  {
   symbols_at_ms = ClockMs();
   int total = SymbolsTotal(true);
   for(int i = 0; i < total; i++)
     {
      string symbol = SymbolName(i, true);
      if(FindWatched(symbol, i) >= 0)
         continue;
      if(watched_count == ArraySize(watched))
         ArrayResize(watched, 2 * watched_count + 64);
      watched[watched_count].Reset(symbol);
      watched_count++;
     }
  }

void PublishIfChanged(int at, bool is_event)
  {
   MqlTick tick;
   if(!SymbolInfoTick(watched[at].symbol, tick) || !watched[at].HasChanged(tick))
      return;
   NextSeq(watched[at]);
   PublishTick(at, tick, is_event);
  }

void PublishTick(int at, const MqlTick &tick, bool is_event)
  {
   long utc_s = broker_clock.IsKnown() ? broker_clock.UtcOf(tick.time) : (long)TimeGMT();
   WriteTick(watched[at], tick, utc_s * 1000, is_event, packed);
   Publish("tick." + watched[at].symbol);
  }

// ---- everything else ----------------------------------------------------------------------------

void PublishOrders()
  {
   OrderEvent event;
   orders_at_ms = ClockMs();
   int count = order_watch.Poll();
   for(int i = 0; i < count; i++)
     {
      order_watch.EventAt(i, event);
      PackOrderEvent(event, packed);
      Publish("order");
     }
   if(count > 0)
      PublishAccount(false);
  }

void PublishAccount(bool is_wanted)
  {
   PackAccount(packed);
   bool is_same = packed.length == account_before.length;
   for(int i = 0; i < packed.length && is_same; i++)
      is_same = packed.bytes[i] == account_before.bytes[i];
   if(is_same && !is_wanted)
      return;
   PackAccount(account_before);
   Publish("account");
  }

// The session is the commands program's, told by a global variable of the terminal.
string SharedSession()
  {
   if(!GlobalVariableCheck("Mt4Gateway.session"))
      return("");
   return(SessionName((long)GlobalVariableGet("Mt4Gateway.session")));
  }

// Whether the chart's symbol may be traded at this hour of the broker's clock.
bool IsMarketOpen()
  {
   datetime now = broker_clock.IsKnown() ? (datetime)((long)TimeGMT() + broker_clock.OffsetS()) : TimeCurrent();
   return(IsTradeAllowed(chart_symbol, now));
  }

void PublishHeartbeat()
  {
   heartbeat_at_ms = ClockMs();
   bool is_connected = IsConnected();
   packed.Clear();
   packed.Map(6);
   packed.AddText("session", SharedSession());
   packed.AddInteger("clock_ms", ClockMs());
   packed.AddInteger("broker_time", (long)TimeCurrent());
   packed.AddBoolean("connected", is_connected);
   packed.AddBoolean("trade_allowed", MayTrade());
   packed.AddBoolean("market_open", IsMarketOpen());
   Publish("heartbeat");
   PublishAccount(is_connected && !was_connected);
   if(is_connected && !was_connected)
      PublishSnapshot("");
   was_connected = is_connected;
  }

// A new subscriber gets the present state at once. libzmq hands its wish in as a frame: 1 and the
// beginning of the topics it wants.
void GreetSubscribers()
  {
   uchar frame[];
   ArrayResize(frame, 256);
   for(int i = 0; i < 64; i++)
     {
      int length = publisher.Receive(frame, 256);
      if(length < 0)
         return;
      if(length == 0 || frame[0] != 1 || length > 256)
         continue;
      string topic = length > 1 ? CharArrayToString(frame, 1, length - 1, CP_UTF8) : "";
      LogInfo("subscribed topic=\"" + topic + "\"");
      PublishSnapshot(topic);
     }
  }

bool IsWanted(string topic, string name)
  {
   return(StringFind(name, topic) == 0 || topic == "");
  }

// The last quote of every symbol that is wanted, under a number of its own, and the account.
void PublishSnapshot(string topic)
  {
   MqlTick tick;
   for(int i = 0; i < watched_count; i++)
     {
      if(!IsWanted(topic, "tick." + watched[i].symbol) || !SymbolInfoTick(watched[i].symbol, tick))
         continue;
      watched[i].HasChanged(tick);
      NextSeq(watched[i]);
      PublishTick(i, tick, false);
     }
   if(IsWanted(topic, "account"))
      PublishAccount(true);
  }

// Topic and map. What a subscriber's queue does not take is lost for it; ticks show the gap.
void Publish(string topic)
  {
   uchar name[];
   int count = StringToCharArray(topic, name, 0, WHOLE_ARRAY, CP_UTF8) - 1;
   if(publisher.Send(name, count, ZMQ_SNDMORE) && publisher.Send(packed.bytes, packed.length, 0))
      return;
   dropped_count++;
   if(dropped_count % 1000 == 1)
      LogWarning("publish_failed errno=" + IntegerToString(zmq_errno()) + " dropped=" + IntegerToString(dropped_count));
  }
