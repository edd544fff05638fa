// The commands: a REP socket, asked at each event of the millisecond timer; one reply per request.
//
// Nothing here waits. MetaTrader calls OnTimer again and again; each call takes what is there.
#property copyright "the mt4-gateway authors"
#property version   "1.00"
#property description "Takes requests from mt4-gateway (and from clients of MetaTrader 4 Server) over ZeroMQ."
#property strict

#include <Mt4Gateway/Clock.mqh>
#include <Mt4Gateway/Dispatcher.mqh>
#include <Mt4Gateway/Log.mqh>
#include <Mt4Gateway/Zmq.mqh>

input string             Endpoint = "tcp://127.0.0.1:28282";  // Where requests are taken; tcp://*:28282 for other computers
input bool               ConnectsOut = false;                 // Connect to Endpoint (a gateway that binds) instead of binding
input ENUM_PLAIN_CLIENTS PlainClients = PLAIN_READ;           // What clients without a gateway may do
input bool               LedgerCreate = false;                // Begin a ledger if there is none (once, at the first start)
input int                LedgerKeepDays = 30;                 // How long a command is remembered, days
input int                LedgerMaxCommands = 200000;          // Beyond this the ledger is full
input int                LedgerMaxMegabytes = 64;             // Beyond this the ledger is full
input bool               AllowTrading = true;                 // Off: this program only reads, whatever a gateway wants
input string             AllowedSymbols = "";                 // Symbols that may be bought and sold, with commas; empty: all
input double             MaxLotsPerOrder = 0;                 // Largest order, lots; 0: no limit
input int                MaxOpenOrders = 0;                   // Most open and pending orders; 0: no limit
input double             MaxOpenLots = 0;                     // Most lots of open and pending orders; 0: no limit
input int                MaxWaitMs = 5000;                    // Longest wait for history that is not loaded
input int                TimerMs = 5;                         // How often requests are looked for
input string             CurveSecretKey = "";                 // Our secret key, 40 characters; empty: no encryption
input string             CurvePublicKey = "";                 // Our public key; with ConnectsOut only
input string             CurveServerKey = "";                 // The gateway's public key; with ConnectsOut only

#define REQUESTS_PER_EVENT 64
#define BUFFER_BYTES 65600
#define MAX_FRAME_BYTES 1048576
#define BIND_RETRY_MS 1000

ZmqSocket         commands;
Dispatcher        dispatcher;
JsonWriter        command_reply;
uchar             request_bytes[];
long              bind_tried_ms = 0;
long              session_number = 0;

string SessionVariable() { return("Mt4Gateway.session"); }
string TickPortVariable() { return("Mt4Gateway.tick_port"); }

int OnInit()
  {
   DispatcherOptions options;
   options.plain_clients = PlainClients;
   options.max_wait_ms = MaxWaitMs;
   options.tick_variable = TickPortVariable();
   options.limits.allow_trading = AllowTrading;
   options.limits.max_lots_per_order = MaxLotsPerOrder;
   options.limits.max_open_orders = MaxOpenOrders;
   options.limits.max_open_lots = MaxOpenLots;
   options.limits.symbols = SymbolList(AllowedSymbols);
   options.ledger.may_create = LedgerCreate;
   options.ledger.keep_days = LedgerKeepDays;
   options.ledger.max_entries = LedgerMaxCommands;
   options.ledger.max_bytes = LedgerMaxMegabytes * 1048576;
   if(!AreInputsGood())
      return(INIT_PARAMETERS_INCORRECT);
   ArrayResize(request_bytes, BUFFER_BYTES);
   session_number = NewSession();
   if(GlobalVariableSet(SessionVariable(), (double)session_number) == 0)
      LogWarning("session_not_told code=" + IntegerToString(GetLastError()));
   dispatcher.Start(options, SessionName(session_number));
   BindCommands();
   if(!EventSetMillisecondTimer(TimerMs))
      return(INIT_FAILED);
   return(INIT_SUCCEEDED);
  }

bool AreInputsGood()
  {
   string wrong = "";
   if(!AreCurveKeysGood(CurveSecretKey, CurvePublicKey, CurveServerKey, ConnectsOut))
      wrong = "the Curve keys have 40 characters each; with ConnectsOut all three are needed, else CurveSecretKey alone";
   if(TimerMs < 1 || LedgerKeepDays < 7 || LedgerMaxCommands < 100 || LedgerMaxMegabytes < 1 || LedgerMaxMegabytes > 1024)
      wrong = "TimerMs is below 1, LedgerKeepDays below 7, LedgerMaxCommands below 100, or LedgerMaxMegabytes outside 1 to 1024";
   if(MaxLotsPerOrder < 0 || MaxOpenOrders < 0 || MaxOpenLots < 0)
      wrong = "MaxLotsPerOrder, MaxOpenOrders or MaxOpenLots is negative; 0 means no limit";
   if(wrong != "")
      LogError("bad_inputs reason=\"" + wrong + "\"");
   return(wrong == "");
  }

// "A, B" as ",A,B,", so that one search finds a whole name.
string SymbolList(string names)
  {
   string parts[];
   string list = "";
   int count = StringSplit(names, ',', parts);
   for(int i = 0; i < count; i++)
      list += "," + StringTrimLeft(StringTrimRight(parts[i]));
   return(list == "" ? "" : list + ",");
  }

void OnDeinit(const int reason)
  {
   EventKillTimer();
   commands.Close();
   dispatcher.Stop();
   if(!GlobalVariableDel(SessionVariable()))
      LogWarning("session_not_forgotten code=" + IntegerToString(GetLastError()));
   GlobalVariablesFlush();
   LogInfo("stopped reason=" + IntegerToString(reason));
  }

// The port may still be held by this program's life before a change of its inputs: tried again.
void BindCommands()
  {
   bind_tried_ms = ClockMs();
   bool is_bound = commands.Open(ZMQ_REP) && commands.Set64(ZMQ_MAXMSGSIZE, MAX_FRAME_BYTES);
   is_bound = is_bound && commands.Set(ZMQ_HEARTBEAT_IVL, 5000) && commands.Set(ZMQ_HEARTBEAT_TIMEOUT, 15000);
   if(is_bound && CurveSecretKey != "")
      is_bound = commands.SetCurve(CurveSecretKey, CurvePublicKey, CurveServerKey, ConnectsOut);
   is_bound = is_bound && commands.Attach(Endpoint, ConnectsOut);
   if(is_bound)
      LogInfo("listening endpoint=" + Endpoint + " session=" + SessionName(session_number));
   else
     {
      LogWarning("bind_failed endpoint=" + Endpoint + " errno=" + IntegerToString(zmq_errno()));
      commands.Close();
     }
  }

void OnTimer()
  {
   dispatcher.OnTimer();
   if(!commands.IsOpen())
     {
      if(ClockMs() - bind_tried_ms >= BIND_RETRY_MS)
         BindCommands();
      return;
     }
   if(dispatcher.IsWaiting())
     {
      if(!dispatcher.Resume(command_reply))
         return;
      SendReply();
     }
   for(int i = 0; i < REQUESTS_PER_EVENT && commands.IsOpen(); i++)
      if(!ServeOne())
         return;
  }

// Take one request, if there is one, and answer it. False: there is none, or its answer is not
// there yet.
bool ServeOne()
  {
   int length = commands.Receive(request_bytes, BUFFER_BYTES);
   if(length < 0)
      return(false);
   int frames = 1;
   while(commands.HasMore())
     {
      uchar rest[];
      ArrayResize(rest, 1);
      if(commands.Receive(rest, 1) < 0)
         break;
      frames++;
     }
   if(!dispatcher.Handle(request_bytes, length, frames, command_reply))
      return(false);
   SendReply();
   return(true);
  }

// A socket that does not take the reply would wait for it for ever: a new one is opened.
void SendReply()
  {
   if(commands.Send(command_reply.bytes, command_reply.length, 0))
      return;
   LogError("reply_not_sent errno=" + IntegerToString(zmq_errno()));
   commands.Close();
  }
