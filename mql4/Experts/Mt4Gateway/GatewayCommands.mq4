// The commands: a REP socket, asked at each event of the millisecond timer; one reply per request.
//
// Nothing here waits. MetaTrader calls OnTimer again and again; each call takes what is there.
#property copyright "the mt4-gateway authors"
#property version   "1.00"
#property description "Takes requests from mt4-gateway (and from clients of MetaTrader 4 Server) over ZeroMQ."
#property strict

#include <Mt4Gateway/Clock.mqh>
#include <Mt4Gateway/CommandInputs.mqh>
#include <Mt4Gateway/Dispatcher.mqh>
#include <Mt4Gateway/Log.mqh>
#include <Mt4Gateway/Session.mqh>
#include <Mt4Gateway/Zmq.mqh>

input string Endpoint = "tcp://127.0.0.1:28282";  // Where requests are taken; tcp://*:28282 for other computers
input bool   ConnectsOut = false;                 // Connect to Endpoint (a gateway that binds) instead of binding
input string CurveSecretKey = "";                 // Our secret key, 40 characters; empty: no encryption
input string CurvePublicKey = "";                 // Our public key; with ConnectsOut only
input string CurveServerKey = "";                 // The gateway's public key; with ConnectsOut only

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

int OnInit()
  {
   DispatcherOptions options;
   if(!AreCommandInputsGood() || !AreKeysGood())
      return(INIT_PARAMETERS_INCORRECT);
   ReadCommandInputs(options);
   options.program = "GatewayCommands";
   options.tick_variable = "Mt4Gateway.tick_port";
   ArrayResize(request_bytes, BUFFER_BYTES);
   session_number = NewSession();
   TellSession(session_number);
   dispatcher.Start(options, SessionName(session_number));
   BindCommands();
   if(!EventSetMillisecondTimer(TimerMs))
      return(INIT_FAILED);
   return(INIT_SUCCEEDED);
  }

bool AreKeysGood()
  {
   if(AreCurveKeysGood(CurveSecretKey, CurvePublicKey, CurveServerKey, ConnectsOut))
      return(true);
   LogError("bad_inputs reason=\"the Curve keys have 40 characters each; with ConnectsOut all three are needed, else CurveSecretKey alone\"");
   return(false);
  }

void OnDeinit(const int reason)
  {
   EventKillTimer();
   commands.Close();
   dispatcher.Stop();
   ForgetSession();
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
