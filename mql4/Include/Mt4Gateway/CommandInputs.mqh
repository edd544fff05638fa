// The inputs of a program that takes commands, checked and brought into the dispatcher's form.
#ifndef MT4GATEWAY_COMMANDINPUTS_MQH
#define MT4GATEWAY_COMMANDINPUTS_MQH

#include <Mt4Gateway/Dispatcher.mqh>
#include <Mt4Gateway/Log.mqh>

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

void ReadCommandInputs(DispatcherOptions &options)
  {
   options.plain_clients = PlainClients;
   options.max_wait_ms = MaxWaitMs;
   options.limits.allow_trading = AllowTrading;
   options.limits.max_lots_per_order = MaxLotsPerOrder;
   options.limits.max_open_orders = MaxOpenOrders;
   options.limits.max_open_lots = MaxOpenLots;
   options.limits.symbols = SymbolList(AllowedSymbols);
   options.ledger.may_create = LedgerCreate;
   options.ledger.keep_days = LedgerKeepDays;
   options.ledger.max_entries = LedgerMaxCommands;
   options.ledger.max_bytes = LedgerMaxMegabytes * 1048576;
  }

bool AreCommandInputsGood()
  {
   string wrong = "";
   if(TimerMs < 1 || LedgerKeepDays < 7 || LedgerMaxCommands < 100 || LedgerMaxMegabytes < 1 || LedgerMaxMegabytes > 1024)
      wrong = "TimerMs is below 1, LedgerKeepDays below 7, LedgerMaxCommands below 100, or LedgerMaxMegabytes outside 1 to 1024";
   if(MaxLotsPerOrder < 0 || MaxOpenOrders < 0 || MaxOpenLots < 0)
      wrong = "MaxLotsPerOrder, MaxOpenOrders or MaxOpenLots is negative; 0 means no limit";
   if(wrong != "")
      LogError("bad_inputs reason=\"" + wrong + "\"");
   return(wrong == "");
  }

#endif
